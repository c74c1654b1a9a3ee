"""Date and time functions. Every instant is shown and cut in UTC unless a zone is named."""

from __future__ import annotations

from apps.expressions.catalogue.model import Function, literal_text, one_of

CATEGORY = "Dates"
PARTS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "isodow", "dow", "doy", "isoyear",
         "epoch", "millisecond", "microsecond")
CUTS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "decade", "century")
STEPS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond")
_PG_PARTS = ("year", "quarter", "month", "week", "day", "hour", "minute", "isodow", "dow", "doy", "isoyear")


def _date(name: str, signature: str, description: str, example: str, result: str, **facts: object) -> Function:
    return Function(name, CATEGORY, signature, description, example, result, **facts)  # type: ignore[arg-type]


def _part(name: str, description: str, result: str) -> Function:
    return _date(name, f"{name}(date)", description, f"{name}(date '2024-05-17')", result, args=(1, 1), nulls="maybe",
                 postgres=f"extract({name} from {{0}})::bigint", pg_args=("date",))


FUNCTIONS = (
    _part("year", "The year.", "2024"),
    _part("quarter", "The quarter, 1 to 4.", "2"),
    _part("month", "The month, 1 to 12.", "5"),
    _part("week", "The ISO week, 1 to 53.", "20"),
    _part("day", "The day of the month.", "17"),
    _part("isodow", "The day of the week, Monday 1 to Sunday 7.", "5"),
    _date("dayofyear", "dayofyear(date)", "The day of the year.", "dayofyear(date '2024-02-01')", "32", args=(1, 1),
          nulls="maybe", postgres="extract(doy from {0})::bigint", pg_args=("date",)),
    _date("hour", "hour(timestamp)", "The hour.", "hour(timestamp '2024-05-17 10:20:30')", "10", args=(1, 1),
          nulls="maybe", postgres="extract(hour from {0})::bigint", pg_args=("timestamp",)),
    _date("minute", "minute(timestamp)", "The minute.", "minute(timestamp '2024-05-17 10:20:30')", "20", args=(1, 1),
          nulls="maybe", postgres="extract(minute from {0})::bigint", pg_args=("timestamp",)),
    _date("second", "second(timestamp)", "The second.", "second(timestamp '2024-05-17 10:20:30')", "30", args=(1, 1),
          nulls="maybe", postgres="floor(extract(second from {0}))::bigint", pg_args=("timestamp",)),
    _date("date_part", "date_part('part', date)", "A part by name; the same as EXTRACT(part FROM date).",
          "extract(month from date '2024-05-17')", "5", args=(2, 2), nulls="maybe", guard=one_of(0, PARTS),
          postgres="date_part({0}, {1})::bigint", pg_args=("text", "temporal"), pg_guard=one_of(0, _PG_PARTS)),
    _date("date_trunc", "date_trunc('unit', date)", "Start of the unit, as TIMESTAMP.",
          "date_trunc('month', date '2024-05-17')", "2024-05-01 00:00:00", args=(2, 2), nulls="maybe",
          guard=one_of(0, CUTS), postgres="date_trunc({0}, {1}::timestamp)", pg_args=("text", "temporal")),
    _date("date_diff", "date_diff('unit', from, to)", "Borders of the unit between two dates.",
          "date_diff('day', date '2024-01-31', date '2024-03-01')", "30", args=(3, 3), nulls="maybe",
          guard=one_of(0, STEPS), postgres="({2} - {1})::bigint", pg_args=("text", "date", "date"),
          pg_guard=one_of(0, ("day",))),
    _date("date_sub", "date_sub('unit', from, to)", "Whole units between two dates.",
          "date_sub('month', date '2024-01-31', date '2024-03-01')", "1", args=(3, 3), nulls="maybe",
          guard=one_of(0, STEPS), postgres="({2} - {1})::bigint", pg_args=("text", "date", "date"),
          pg_guard=one_of(0, ("day",))),
    _date("last_day", "last_day(date)", "Last day of the month.", "last_day(date '2024-02-10')", "2024-02-29",
          args=(1, 1), nulls="maybe",
          postgres="(date_trunc('month', {0}::timestamp) + interval '1 month' - interval '1 day')::date",
          pg_args=("temporal",)),
    _date("make_date", "make_date(year, month, day)", "The date; a row error when there is no such day.",
          "make_date(2024, 2, 29)", "2024-02-29", args=(3, 3), fails=True),
    _date("strftime", "strftime(date, format)", "As text: %Y %m %d %H %M %S.",
          "strftime(date '2024-05-17', '%d.%m.%Y')", "17.05.2024", args=(2, 2), nulls="maybe", guard=literal_text(1)),
    _date("strptime", "strptime(text, format)", "From text; a row error when it does not fit.",
          "strptime('17.05.2024', '%d.%m.%Y')", "2024-05-17 00:00:00", args=(2, 2), guard=literal_text(1)),
    _date("try_strptime", "try_strptime(text, format)", "From text; NULL when it does not fit.",
          "try_strptime('soon', '%d.%m.%Y')", "NULL", args=(2, 2), nulls="maybe", guard=literal_text(1)),
    _date("epoch", "epoch(timestamp)", "Seconds since 1970-01-01 UTC, as DOUBLE.",
          "epoch(timestamp '1970-01-02 00:00:00')", "86400.0", args=(1, 1), nulls="maybe"),
    _date("epoch_ms", "epoch_ms(timestamp or milliseconds)", "Milliseconds since 1970-01-01 UTC, and back.",
          "epoch_ms(timestamp '1970-01-02 00:00:00')", "86400000", args=(1, 1), nulls="maybe", fails=True),
    _date("to_timestamp", "to_timestamp(seconds)", "Instant from seconds since 1970-01-01 UTC.",
          "to_timestamp(86400)", "1970-01-02 00:00:00+00:00", args=(1, 1), fails=True),
    _date("timezone", "timezone('zone', timestamp)", "Wall clock of a zone; the same as timestamp AT TIME ZONE 'zone'.",
          "timestamptz '2024-07-01 10:00:00+00' at time zone 'Europe/Zurich'", "2024-07-01 12:00:00", args=(2, 2),
          fails=True, guard=literal_text(0)),
    _date("monthname", "monthname(date)", "English name of the month.", "monthname(date '2024-05-17')", "May",
          args=(1, 1), nulls="maybe"),
    _date("dayname", "dayname(date)", "English name of the day.", "dayname(date '2024-05-17')", "Friday", args=(1, 1),
          nulls="maybe"),
    _date("current_date", "current_date", "Today in UTC.", "current_date > date '2020-01-01'", "true", args=(0, 0),
          nulls="never", duckdb="CAST(timezone('UTC', now()) AS DATE)",
          postgres="(now() AT TIME ZONE 'UTC')::date"),
    _date("now", "now()", "This instant; the same for all rows of a batch.",
          "now() > timestamptz '2020-01-01 00:00:00+00'", "true", args=(0, 0), nulls="never", postgres="now()"),
)
