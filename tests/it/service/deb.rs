//! Tests of the Debian package: installed, inspected, removed and purged.

use super::{host, packaged, said};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CONFIG: &str = "etc/wellspring/daemon.toml";

/// Creates a root with nothing but the files of `dpkg` itself.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["etc", "var/lib/dpkg"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    fs::write(root.path().join("var/lib/dpkg/status"), "").unwrap();
    root
}

/// Runs `dpkg` as root of a user namespace.
///
/// Nothing outside of `root` can be written.
#[track_caller]
fn dpkg(root: &Path, args: &[&str]) -> Output {
    let mut dpkg = Command::new("unshare");
    dpkg.args(["--map-root-user", "dpkg", "--force-script-chrootless", "--force-depends"])
        .arg(format!("--root={}", root.display()))
        .args(args)
        // Prevents contact with a service manager.
        .env("SYSTEMD_OFFLINE", "1");
    let done = host(&mut dpkg);
    assert!(done.status.success(), "{args:?}: {}", said(&done));
    done
}

fn installed(root: &Path, args: &[&str]) -> String {
    let run = host(Command::new(root.join("usr/bin/wellspring")).args(args));
    assert!(run.status.success(), "{}", said(&run));
    said(&run)
}

/// Returns all links to units, that is all enabled units.
fn enabled(root: &Path) -> Vec<PathBuf> {
    let mut enabled = Vec::new();
    let mut folders = vec![root.join("etc/systemd")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_symlink() { enabled.push(path) } else { folders.push(path) }
        }
    }
    enabled
}

#[test]
fn the_package_installs_disabled_and_leaves_nothing_behind() {
    let build = host(Command::new(packaged("deb/build.sh")).arg("--debug"));
    assert!(build.status.success(), "{}", said(&build));
    let package = String::from_utf8(build.stdout).unwrap().trim().to_owned();
    let root = root();
    let root = root.path();

    dpkg(root, &["--install", &package]);
    assert_eq!(installed(root, &["--version"]), concat!("wellspring ", env!("CARGO_PKG_VERSION"), "\n"));
    let mut expected = vec![
        ("usr/lib/systemd/system/wellspring.service", 0o644),
        ("usr/lib/systemd/system/wellspring-checkout.service", 0o644),
        ("usr/lib/systemd/system/wellspring-checkout.timer", 0o644),
        ("usr/lib/sysusers.d/wellspring.conf", 0o644),
        ("usr/lib/wellspring/checkout", 0o755),
        (CONFIG, 0o644),
    ];
    let documents =
        ["README.md", "files.md", "copyright"].map(|name| format!("usr/share/doc/wellspring/{name}"));
    expected.extend(documents.iter().map(|path| (path.as_str(), 0o644)));
    for (path, mode) in expected {
        let found = fs::metadata(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }
    assert_eq!(enabled(root), Vec::<PathBuf>::new());
    assert!(fs::read_to_string(root.join("etc/passwd")).unwrap().contains("wellspring-checkout:"));
    looks_after_shells_and_readers(root);
    assert_eq!(said(&dpkg(root, &["--verify", "wellspring"])), "");

    // Files of the administrator must survive everything except the purge.
    fs::write(root.join(CONFIG), "# mine\n").unwrap();
    dpkg(root, &["--install", &package]);
    assert_eq!(fs::read_to_string(root.join(CONFIG)).unwrap(), "# mine\n");
    let left = ["var/lib/private/wellspring", "var/lib/wellspring-checkout"].map(|path| root.join(path));
    left.iter().for_each(|path| fs::create_dir_all(path).unwrap());
    dpkg(root, &["--remove", "wellspring"]);
    assert_eq!(fs::read_to_string(root.join(CONFIG)).unwrap(), "# mine\n");
    assert!(left.iter().all(|path| path.exists()), "state outlives the removal");
    assert!(!root.join("usr").exists());
    dpkg(root, &["--purge", "wellspring"]);
    assert!(!root.join("etc/wellspring").exists());
    assert!(!left.iter().any(|path| path.exists()), "and not the purge");
    assert_eq!(enabled(root), Vec::<PathBuf>::new());
    assert!(!said(&dpkg(root, &["--list"])).contains("wellspring"));
}

/// Checks the manual page of each command and the shell completions.
fn looks_after_shells_and_readers(root: &Path) {
    let pages = root.join("usr/share/man/man1");
    let help = installed(root, &["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 10, "{help}");
    for command in commands {
        assert!(pages.join(format!("wellspring-{command}.1.gz")).is_file(), "{command}");
    }
    let page = host(Command::new("gzip").arg("-dc").arg(pages.join("wellspring.1.gz")));
    assert!(said(&page).contains(".SH SYNOPSIS"), "{}", said(&page));
    let completions = root.join("usr/share/bash-completion/completions/wellspring");
    let read = host(Command::new("bash").arg("-n").arg(&completions));
    assert!(read.status.success(), "{}", said(&read));
    for path in ["zsh/vendor-completions/_wellspring", "fish/vendor_completions.d/wellspring.fish"] {
        assert!(
            fs::read_to_string(root.join("usr/share").join(path)).unwrap().contains("wellspring"),
            "{path}"
        );
    }
}
