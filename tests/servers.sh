#!/usr/bin/env bash
# Temporary PostgreSQL and MariaDB servers for the tests, and a PgBouncer in front of the first.
#
#   tests/servers.sh install   installs missing Debian packages: the servers, and tools that tests use
#   tests/servers.sh hold      starts the servers, prints their addresses, and stops them when its input ends
#
# The servers use free loopback ports and a temporary folder, and run as `nobody` if started by root. The
# process that holds the input may die in any way: its end stops the servers.
set -euo pipefail

packages=(postgresql pgbouncer mariadb-server-core mariadb-client-core openssl git systemd util-linux
    curl python3 python3-venv)
hint="run tests/all, or as root: apt-get install --no-install-recommends ${packages[*]}"

fail() { printf 'tests/servers.sh: %s\n' "$*" >&2; exit 1; }

find_programs() {
    PATH=$PATH:/usr/sbin:/sbin
    postgres=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -1)
    [[ -x $postgres ]] || postgres=$(readlink -f "$(command -v postgres)" || true)
    pg_bin=${postgres%/*}
    missing=()
    [[ -x $postgres && -x $pg_bin/initdb ]] || missing+=(PostgreSQL)
    [[ -n $(command -v mariadbd) && -n $(command -v mariadb-install-db) && -n $(command -v mariadb) ]] ||
        missing+=(MariaDB)
    [[ -n $(command -v pgbouncer) ]] || missing+=(PgBouncer)
    local tool
    for tool in openssl git systemd-analyze unshare curl python3; do
        [[ -n $(command -v "$tool") ]] || missing+=("$tool")
    done
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
}

install() {
    find_programs
    ((${#missing[@]})) || return 0
    [[ -n $(command -v apt-get) ]] || fail "${missing[*]}: not installed, and there is no apt-get to do it"
    local as=()
    if ((EUID)); then
        [[ -n $(command -v sudo) ]] || fail "${missing[*]}: not installed, and only root may; $hint"
        as=(sudo)
    fi
    printf 'installing %s\n' "${packages[*]}" >&2
    # Prevents the package from creating and starting a cluster; only the programs are needed.
    "${as[@]}" sh -c 'mkdir -p /etc/postgresql-common && cd /etc/postgresql-common &&
        { [ -e createcluster.conf ] || echo "create_main_cluster = false" > createcluster.conf; }'
    local apt=("${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    "${apt[@]}" update >&2 || true
    "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >&2 || fail "apt-get failed; $hint"
    find_programs
    ((${#missing[@]} == 0)) || fail "${missing[*]}: still not there after the installation"
}

# Runs a program as the owner of the servers; it is killed when this script ends.
as_owner=(setpriv --pdeathsig KILL)
((EUID)) || as_owner+=(--reuid nobody --regid nogroup --clear-groups)

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    printf '%s' "$port"
}

# Starts server $1 (its functions are $1_run and $1_answers) and sets $port. Tries another port if the chosen
# one is in use by then.
serve() {
    local name=$1 pid
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        "${name}_run" </dev/null >>"$folder/$name.log" 2>&1 &
        pid=$!
        for _ in {1..1200}; do
            kill -0 "$pid" 2>/dev/null || break
            if "${name}_answers" >/dev/null 2>&1; then
                return
            fi
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    cat "$folder/$name.log" >&2
    fail "$name did not start; its log is above"
}

# Runs a step of the set-up; prints its output only on failure.
quietly() { "$@" >"$folder/step.log" 2>&1 </dev/null || { cat "$folder/step.log" >&2; fail "failed: $*"; }; }

make_certificate() {
    # Ignores the system's settings, with which it would be a CA certificate.
    printf '[req]\ndistinguished_name = name\n[name]\n' >"$folder/openssl.cnf"
    quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -config "$folder/openssl.cnf" -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$folder/server.key" -out "$folder/server.crt"
    chmod 600 "$folder/server.key"
    ((EUID)) || chown nobody "$folder"/server.*
}

postgres_prepare() {
    printf '%s' "$password" >"$folder/password"
    "${as_owner[@]}" "$pg_bin/initdb" -D "$folder/postgres" -U tests --pwfile="$folder/password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
}

postgres_run() {
    local settings=(fsync=off synchronous_commit=off full_page_writes=off wal_level=minimal max_wal_senders=0
        max_wal_size=2GB listen_addresses=127.0.0.1 "unix_socket_directories=$folder" ssl=on
        "ssl_cert_file=$folder/server.crt" "ssl_key_file=$folder/server.key")
    exec "${as_owner[@]}" "$postgres" -D "$folder/postgres" -p "$port" "${settings[@]/#/--}"
}

postgres_answers() { "$pg_bin/pg_isready" -q -h "$folder" -p "$port"; }

# Default settings, except for those needed to run here.
pgbouncer_run() {
    printf '"tests" "%s"\n' "$password" >"$folder/pgbouncer.users"
    cat >"$folder/pgbouncer.ini" <<INI
[databases]
* = host=127.0.0.1 port=$postgres_port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
auth_type = plain
auth_file = $folder/pgbouncer.users
pool_mode = transaction
unix_socket_dir =
INI
    ((EUID)) || chown nobody "$folder"/pgbouncer.*
    exec "${as_owner[@]}" pgbouncer "$folder/pgbouncer.ini"
}

pgbouncer_answers() { "$pg_bin/pg_isready" -q -h 127.0.0.1 -p "$port"; }

mariadb_prepare() {
    "${as_owner[@]}" mariadb-install-db --no-defaults --datadir="$folder/mariadb" --skip-test-db \
        --auth-root-authentication-method=normal
}

mariadb_run() {
    cat >"$folder/users.sql" <<SQL
DROP USER IF EXISTS root@localhost;
CREATE USER IF NOT EXISTS tests@'%' IDENTIFIED BY '$password';
GRANT ALL ON *.* TO tests@'%' WITH GRANT OPTION;
SQL
    exec "${as_owner[@]}" mariadbd --no-defaults --datadir="$folder/mariadb" --socket="$folder/mariadb.sock" \
        --bind-address=127.0.0.1 --port="$port" --pid-file="$folder/mariadb/pid" --skip-name-resolve \
        --init-file="$folder/users.sql" --skip-log-bin --performance-schema=OFF \
        --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-buffer-pool-size=64M \
        --ssl-cert="$folder/server.crt" --ssl-key="$folder/server.key"
}

mariadb_answers() {
    MYSQL_PWD=$password mariadb --no-defaults --socket="$folder/mariadb.sock" --user=tests --execute='SELECT 1'
}

hold() {
    find_programs
    ((${#missing[@]} == 0)) || fail "${missing[*]}: not installed; $hint"
    # Only the end of the input, or SIGTERM, stops the servers; Ctrl-C is for the parent process.
    trap '' INT HUP
    trap 'exit 143' TERM
    folder=$(mktemp -d "${TMPDIR:-/tmp}/wellspring-servers.XXXXXX")
    trap 'kill -QUIT $(jobs -p) 2>/dev/null; wait; rm -rf "$folder"' EXIT
    cd "$folder"
    ((EUID)) || chown nobody "$folder"
    chmod 755 "$folder"
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    make_certificate
    quietly postgres_prepare
    quietly mariadb_prepare
    serve postgres
    printf 'WELLSPRING_TEST_POSTGRES=postgres://tests:%s@127.0.0.1:%s/postgres\n' "$password" "$port"
    postgres_port=$port
    serve pgbouncer
    printf 'WELLSPRING_TEST_PGBOUNCER=postgres://tests:%s@127.0.0.1:%s/postgres\n' "$password" "$port"
    serve mariadb
    printf 'WELLSPRING_TEST_MARIADB=mariadb://tests:%s@127.0.0.1:%s/mysql\n' "$password" "$port"
    printf 'WELLSPRING_TEST_CERTIFICATE=%s\n\n' "$folder/server.crt"
    # The empty line above marks the end of the list.
    cat <&0 >/dev/null &
    wait $!
}

case ${1-} in
install) install ;;
hold) hold ;;
*) fail "say install or hold" ;;
esac
