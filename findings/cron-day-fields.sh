#!/usr/bin/env bash
# Cron libraries disagree on which days `0 0 */2 * MON` names.
#
# crontab(5) joins day of month and day of week by OR only when neither field starts with `*`. `*/2` starts with `*`,
# so crontab runs the job on odd days that are Mondays: 2 or 3 times a month. Of six libraries, cronsim and
# APScheduler do that; croniter, croner, cron-parser and cron-schedule run it on every odd day and on every Monday.
# APScheduler's `from_crontab` never uses OR: `0 0 1,15 * MON` runs there only on a first or fifteenth that is a
# Monday. An expression that moves from one tool to another keeps its text and changes its days, without a warning.
#
# Seen with: croniter 7.0.0, cronsim 2.8, APScheduler 3.11.3, croner 11.0.1, cron-parser 5.10.6, cron-schedule 6.0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv python
python/bin/pip -q install croniter==7.0.0 cronsim==2.8 APScheduler==3.11.3
printf '{"private":true,"type":"module"}\n' >package.json
npm install --silent --no-fund --no-audit croner@11.0.1 cron-parser@5.10.6 cron-schedule@6.0.0

cat >days.py <<'P'
import datetime as dt
from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

start = dt.datetime(2026, 12, 1, tzinfo=dt.timezone.utc)
end = dt.datetime(2027, 1, 1, tzinfo=dt.timezone.utc)


def apscheduler(expression):
    trigger, last, now = CronTrigger.from_crontab(expression, timezone="UTC"), None, start
    while True:
        last = trigger.get_next_fire_time(last, now)
        yield last
        now = last + dt.timedelta(seconds=1)


def days(firings):
    found = []
    for firing in firings:
        if firing >= end:
            return " ".join(found) or "none"
        found.append(str(firing.day))


for expression in ("0 0 */2 * MON", "0 0 1,15 * MON"):
    print(expression)
    print("  croniter:", days(iter(lambda i=croniter(expression, start): i.get_next(dt.datetime), None)))
    print("  cronsim:", days(CronSim(expression, start)))
    print("  APScheduler:", days(apscheduler(expression)))
P
cat >days.js <<'J'
import { Cron } from 'croner';
import { CronExpressionParser } from 'cron-parser';
import { parseCronExpression } from 'cron-schedule';

const start = new Date('2026-12-01T00:00:00Z');
const end = new Date('2027-01-01T00:00:00Z');
const days = (firings) => firings.filter((at) => at < end).map((at) => at.getUTCDate()).join(' ');
for (const expression of ['0 0 */2 * MON', '0 0 1,15 * MON']) {
  const parser = CronExpressionParser.parse(expression, { currentDate: start, tz: 'UTC' });
  console.log(expression);
  console.log('  croner:', days(new Cron(expression, { timezone: 'UTC' }).nextRuns(30, start)));
  console.log('  cron-parser:', days(Array.from({ length: 30 }, () => parser.next().toDate())));
  console.log('  cron-schedule:', days(parseCronExpression(expression).getNextDates(30, start)));
}
J
{ python/bin/python days.py; TZ=UTC node days.js; } | tee seen
diff - seen <<'T' && echo "as described"
0 0 */2 * MON
  croniter: 3 5 7 9 11 13 14 15 17 19 21 23 25 27 28 29 31
  cronsim: 7 21
  APScheduler: 7 21
0 0 1,15 * MON
  croniter: 7 14 15 21 28
  cronsim: 7 14 15 21 28
  APScheduler: none
0 0 */2 * MON
  croner: 3 5 7 9 11 13 14 15 17 19 21 23 25 27 28 29 31
  cron-parser: 3 5 7 9 11 13 14 15 17 19 21 23 25 27 28 29 31
  cron-schedule: 3 5 7 9 11 13 14 15 17 19 21 23 25 27 28 29 31
0 0 1,15 * MON
  croner: 7 14 15 21 28
  cron-parser: 7 14 15 21 28
  cron-schedule: 7 14 15 21 28
T
