#!/usr/bin/env bash
# A daily job at 02:30 runs twice, late, or not at all when the clocks change, depending on the cron library.
#
# Europe/Berlin skips 02:00 to 03:00 on 28 March 2027 and repeats it on 25 October 2026.
# - `30 2 * * *` in autumn: croniter and APScheduler run it twice; cronsim, croner and cron-parser run it once.
# - `30 2 * * *` in spring: croniter, cronsim and croner run it at 03:00; APScheduler and cron-parser at 03:30.
# - `*/30 2 * * *` in spring: cronsim and croner skip the day; croniter and APScheduler run it once at 03:00;
#   cron-parser runs it at 03:00 and 03:30.
# - `*/30 2 * * *` in autumn: cron-parser runs it twice, the other four run it four times.
#
# Seen with: croniter 7.0.0, cronsim 2.8, APScheduler 3.11.3, croner 11.0.1, cron-parser 5.10.6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv python
python/bin/pip -q install croniter==7.0.0 cronsim==2.8 APScheduler==3.11.3 tzdata==2026.3
printf '{"private":true,"type":"module"}\n' >package.json
npm install --silent --no-fund --no-audit croner@11.0.1 cron-parser@5.10.6

cat >firings.py <<'P'
import datetime as dt
import zoneinfo
from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

zone = zoneinfo.ZoneInfo("Europe/Berlin")


def apscheduler(expression, start):
    trigger, last, now = CronTrigger.from_crontab(expression, timezone=zone), None, start
    while True:
        last = now = trigger.get_next_fire_time(last, now)
        yield last


def croniters(expression, start):
    cron = croniter(expression, start)
    while True:
        yield cron.get_next(dt.datetime)


def on_the_day(firings, start):
    found = []
    for firing in firings:
        if firing.astimezone(zone).date() > start.date():
            return " ".join(found) or "none"
        found.append(firing.astimezone(dt.timezone.utc).strftime("%H:%MZ"))


for day in ((2026, 10, 25), (2027, 3, 28)):
    start = dt.datetime(*day, tzinfo=zone)
    for expression in ("30 2 * * *", "*/30 2 * * *"):
        print(start.date(), expression)
        for name, firings in (("croniter", croniters), ("cronsim", CronSim), ("APScheduler", apscheduler)):
            print(f"  {name}:", on_the_day(firings(expression, start), start))
P
cat >firings.js <<'J'
import { Cron } from 'croner';
import { CronExpressionParser } from 'cron-parser';

const tz = 'Europe/Berlin';
const days = [['2026-10-25', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z'], ['2027-03-28', '2027-03-27T23:00:00Z', '2027-03-28T22:00:00Z']];
for (const [day, from, to] of days) for (const expression of ['30 2 * * *', '*/30 2 * * *']) {
  const [start, end] = [new Date(from), new Date(to)];
  const show = (all) => all.filter((at) => at < end).map((at) => at.toISOString().slice(11, 16) + 'Z').join(' ') || 'none';
  const parser = CronExpressionParser.parse(expression, { currentDate: start, tz });
  console.log(day, expression);
  console.log('  croner:', show(new Cron(expression, { timezone: tz }).nextRuns(6, start)));
  console.log('  cron-parser:', show(Array.from({ length: 6 }, () => parser.next().toDate())));
}
J
{ python/bin/python firings.py; node firings.js; } | tee seen
diff - seen <<'T' && echo "as described"
2026-10-25 30 2 * * *
  croniter: 00:30Z 01:30Z
  cronsim: 00:30Z
  APScheduler: 00:30Z 01:30Z
2026-10-25 */30 2 * * *
  croniter: 00:00Z 00:30Z 01:00Z 01:30Z
  cronsim: 00:00Z 00:30Z 01:00Z 01:30Z
  APScheduler: 00:00Z 00:30Z 01:00Z 01:30Z
2027-03-28 30 2 * * *
  croniter: 01:00Z
  cronsim: 01:00Z
  APScheduler: 01:30Z
2027-03-28 */30 2 * * *
  croniter: 01:00Z
  cronsim: none
  APScheduler: 01:00Z
2026-10-25 30 2 * * *
  croner: 00:30Z
  cron-parser: 00:30Z
2026-10-25 */30 2 * * *
  croner: 00:00Z 00:30Z 01:00Z 01:30Z
  cron-parser: 00:00Z 00:30Z
2027-03-28 30 2 * * *
  croner: 01:00Z
  cron-parser: 01:30Z
2027-03-28 */30 2 * * *
  croner: none
  cron-parser: 01:00Z 01:30Z
T
