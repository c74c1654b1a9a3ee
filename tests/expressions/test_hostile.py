"""Things people with bad intentions type. Each is refused with a sentence, or bounded when it runs."""

# ruff: noqa: E501, PT017 - a table of cases; each error that comes is looked at, none must come

from __future__ import annotations

import time

import pytest

from apps.core.exceptions import PortalError
from apps.expressions.contracts import Schema
from apps.expressions.services.checking import check_expression
from apps.expressions.services.evaluation import evaluate

SCHEMA = Schema.of(a="BIGINT", t="VARCHAR", l="BIGINT[]", s="STRUCT(x BIGINT)", j="JSON", d="DATE", m="DECIMAL(18,2)")

REFUSED = [
    # files
    "read_csv('/etc/passwd')", "read_csv_auto('/etc/passwd')", "read_text('/etc/passwd')", "read_blob('/etc/shadow')",
    "read_json('/etc/passwd')", "read_parquet('x.parquet')", "parquet_scan('x')", "glob('/*')", "sniff_csv('/etc/passwd')",
    "parquet_metadata('x')", "read_ndjson('x')", "sqlite_scan('x', 'y')", "postgres_scan('h', 'p', 't')",
    "(SELECT content FROM read_text('/etc/passwd'))", "'/etc/passwd'.read_text()", "arrow_scan(1, 2, 3)",
    "pandas_scan(1)", "iceberg_scan('s3://x')", "delta_scan('s3://x')", "st_read('/etc/passwd')", "shapefile_meta('x')",
    # settings, pragmas, environment
    "current_setting('threads')", "getenv('HOME')", "set_config('a', 'b', true)", "getvariable('x')", "pragma_version()",
    "PRAGMA database_list", "SET threads = 1", "SET VARIABLE x = 1", "RESET memory_limit", "duckdb_settings()",
    "duckdb_secrets()", "duckdb_extensions()", "which_secret('s3://x', 's3')", "version()", "current_database()",
    "current_schema()", "current_schemas(true)", "current_catalog", "current_user", "session_user", "user",
    "current_role", "txid_current()", "current_query()", "in_search_path('a', 'b')", "pg_typeof(a)", "CALL pragma_version()",
    # statements
    "SELECT 1", "(SELECT 1)", "(SELECT max(a) FROM t)", "EXISTS (SELECT 1)", "a IN (SELECT 1)", "a = ANY (SELECT 1)",
    "a > ALL (SELECT 1)", "ARRAY(SELECT 1)", "FROM t", "TABLE t", "VALUES (1)", "WITH x AS (SELECT 1) SELECT * FROM x",
    "DROP TABLE t", "CREATE TABLE x AS SELECT 1", "CREATE MACRO f(x) AS x", "INSERT INTO t VALUES (1)", "DELETE FROM t",
    "UPDATE t SET a = 1", "ATTACH 'x.db'", "DETACH x", "COPY t TO '/tmp/x'", "EXPORT DATABASE 'x'", "IMPORT DATABASE 'x'",
    "INSTALL httpfs", "LOAD httpfs", "CREATE SECRET (TYPE s3)", "EXPLAIN SELECT 1", "DESCRIBE t", "SHOW TABLES",
    "PREPARE x AS SELECT 1", "EXECUTE x", "USE x", "CHECKPOINT", "VACUUM", "BEGIN", "COMMIT", "ROLLBACK",
    # semicolons and comments
    "1; DROP TABLE t", "1;", ";", "1 /* */ ; 2", "a -- x\n; DROP TABLE t", "a /*", "'a", '"a', "$$a", "a --\n) FROM t --",
    "a) FROM read_text('/etc/passwd') --", "a, (SELECT 1)", "a, b", "1) UNION SELECT (1", "a UNION SELECT b",
    "a) AS x, (b", "a FROM t", "a WHERE true", "a GROUP BY a", "a ORDER BY a", "a LIMIT 1", "a INTO x", "DISTINCT a",
    # names beyond the row
    "*", "t.*", "COLUMNS(*)", "COLUMNS('.*')", "* EXCLUDE (a)", "#1", "$1", "$name", "?", ":a", "@x", "rowid", "row_id",
    "information_schema.tables", "pg_catalog.pg_class.oid", "main.t.a", "system.main.version()", "excluded.a", "old.a",
    # sequences, side effects, volatile
    "nextval('s')", "currval('s')", "random()", "uuid()", "gen_random_uuid()", "setseed(0.5)", "error('x')",
    "write_log('x')", "sleep_ms(1000)", "pg_sleep(10)", "force_checkpoint()", "checkpoint('x')", "enable_logging()",
    "parse_duckdb_log_message('x', 'y')", "add_parquet_key('k', 'v')",
    # aggregates and windows
    "sum(a)", "count(*)", "max(a)", "string_agg(t, ',')", "row_number() OVER ()", "sum(a) OVER ()", "lag(a) OVER ()",
    "sum(a) FILTER (WHERE true)", "GROUPING(a)", "list_aggregate(l, 'sum')", "list_aggr(l, 'histogram')",
    "array_agg(a)", "reduce(l, lambda x, y: x)", "unnest(l)", "unnest([1, 2])", "UNNEST(l)",
    # bombs by text
    "repeat('x', 2000000000)", "repeat(t, 1000)", "repeat(repeat('x', 100), 100)", "lpad('x', 1900000000, 'y')",
    "rpad(t, a, 'x')", "range(1000000000)", "generate_series(1, 1000000000)", "printf('%1000000000d', 1)",
    "format('{:>1000000000}', 1)", "bar(1, 0, 1, 1000000000)", "list_resize(l, 1000000000)", "array_resize(l, 10000000)",
    "lpad(t, 10 * 1000000, 'x')", "lpad(t, cast(1000 as int), 'x')", "rpad('x', -1, 'y')", "list_transform(range(9), lambda x: x)",
    "[x for x in range(1000000)]", "string_to_array('x', '')", "from_base64('x')", "to_base64('x')", "encode('x')",
    "replace(t, 'x', repeat('y', 100))", "translate(t, 'a', t)", "array_to_string(l, t)", "concat(*)",
    "replace(" * 40 + "'x'" + ", 'x', 'xx')" * 40,
    "replace(replace(replace('x', 'x', '" + "x" * 300 + "'), 'x', '" + "x" * 300 + "'), 'x', '" + "x" * 300 + "')",
    "regexp_replace(regexp_replace(regexp_replace(t, '', 'xxxxxxxx', 'g'), '', 'xxxxxxxx', 'g'), '', 'xxxxxxxx', 'g')",
    "regexp_replace(" * 12 + "t" + ", '(.*)', '\\1\\1')" * 12, "to_json(" * 20 + "t" + ")" * 20,
    "[x || x for x in " * 50 + "[t]" + "]" * 50, "[[x, x] for x in " * 50 + "l" + "]" * 50,
    "list_reduce(l, lambda a, x: a || a)", "list_reduce([[1]], lambda a, x: list_concat(a, a))",
    "list_reduce(['x'], lambda a, x: concat(a, x, a))", "list_reduce(['x'], lambda a, x: replace(a, 'x', 'xx'))",
    "array_to_string(string_split(array_to_string(string_split(t, ''), 'xxxxxxxxxxxxxxxxxxxx'), ''), 'xxxxxxxxxxxxxxxxxxxx')",
    # lambdas and structs
    "lambda x: x", "x -> x", "upper(lambda x: x)", "list_filter(l, 1)", "list_transform(l, l)",
    "list_transform(l, lambda x: (SELECT x))", "list_transform(l, lambda x: getenv('HOME'))",
    "list_transform(l, lambda x: read_text('/etc/passwd'))", "[getenv('HOME') for x in l]", "[x for x in l if getenv('H') = 'x']",
    "apply(l, lambda x: x)", "struct_insert(s, b := 1)", "struct_update(s, b := 1)", "struct_concat(s, s)", "s.*",
    "struct_pack(1)", "struct_pack()", "{'a': 1, 'A': 2}", "{}", "{a}", "{1}", "map()", "map([1], [2])", "MAP {'a': 1}",
    "map_from_entries(l)", "union_value(a := 1)", "row(1, 2)", "(1, 2)", "()", "s[getenv('x')]", "l[(SELECT 1)]",
    # types
    "cast(a as regclass)", "cast(a as enum('x'))", "cast(a as union(x int))", "cast(a as main.secret)", "a::oid",
    "cast(a as decimal(99, 2))", "cast(a as int[3])", "cast(a as variant)", "cast(t as bit)", "cast(a as varint)",
    "try_cast(a as anything)", "cast(a as geometry)", "cast(t as date format 'x')", "cast(a as struct())",
    # unicode and odd literals
    "ｒead_text('/etc/passwd')", "getenv\u200b('HOME')", "a\u202e", "\ufeffa", "ｇetenv('HOME')", "'a\x00b'", "a\u0000",
    "E'\\x41'", "e'\\n'", "U&'\\0041'", "X'41'", "B'01'", "N'a'", "$$a$$", "$x$a$x$", "0x41", "0b1", "1__0e", "1e9999",
    "9" * 39, "🙂", "`a`", "[a", "{fn user()}", "%s", "%(a)s", "{{a}}", "{% a %}", "${a}", "#{a}", "a!", "!a", "!!a",
    "a ~ 'x'", "a !~ 'x'", "t GLOB 'x'", "t SIMILAR TO 'x'", "t COLLATE nocase", "t COLLATE \"C\"",
    "~a", "a & 1", "a | 1", "a << 60", "a >> 1", "@a", "a <@ l", "l && l", "a ^@ t", "a := 1", "a => 1", "a as b", "a b",
    # depth and size
    "(" * 200 + "1" + ")" * 200, "[" * 100 + "]" * 100, "not " * 400 + "true", "- " * 400 + "1", "1" + "+1" * 900,
    "case when true then " * 80 + "1" + " end" * 81, "upper(" * 150 + "t" + ")" * 150, "{'a':" * 100 + "1" + "}" * 100,
    "a" * 5_000, "'" + "x" * 1_500 + "'", "coalesce(" + ",".join(["a"] * 200) + ")", "a in (" + ",".join("1" * 500) + ")",
    "t" + " || t" * 300, "a" + ".x" * 500, "l" + "[1]" * 400, "a" + "::int" * 300, "greatest(" * 100 + "a" + ")" * 100,
    # regex
    "regexp_matches(t, '(')", "regexp_matches(t, t)", "regexp_replace(t, t, 'x')", "regexp_extract(t, '[')",
    "regexp_replace(t, '(', 'x')", "regexp_replace(t, 'a', 'b', 'zz')",
    "regexp_matches(t, '(a{1000}){1000}')", "regexp_extract_all(t, 'x')", "regexp_split_to_array(t, 'x')",
]  # fmt: skip


@pytest.mark.parametrize("source", list(dict.fromkeys(REFUSED)), ids=lambda source: repr(source[:40]))
def test_hostile_text_is_refused_with_a_sentence(source: str) -> None:
    started = time.monotonic()
    checked = check_expression(source, SCHEMA)
    assert not checked.ok, checked
    assert time.monotonic() - started < 2.0
    problem = next(problem for problem in checked.problems if problem.severity == "error")
    assert problem.code.startswith("expressions.")
    assert 10 < len(problem.message) < 400
    assert "Traceback" not in problem.message
    assert "sqlglot" not in problem.message
    assert 0 <= problem.start <= problem.end <= max(len(source), 1)


def test_the_corpus_is_large() -> None:
    assert len(set(REFUSED)) >= 250


LONG_LIST = list(range(10_000))
BOUNDED = [
    # (expression, context): legal text, hostile data or shape
    ("list_sum(list_transform(l, lambda x: list_sum(list_transform(l, lambda y: x * y + x * x + y * y))))", {"l": LONG_LIST}),
    ("list_sum([list_sum([x * y for y in l if y % 3 = x % 3]) for x in l])", {"l": LONG_LIST}),
    ("len(array_to_string(list_transform(l, lambda x: t), '-'))", {"l": list(range(5_000)), "t": "x" * 1_000}),
    ("len(replace(t, 'x', '" + "y" * 300 + "'))", {"t": "x" * 1_000_000}),
    ("len(array_to_string(list_transform(l, lambda x: rpad(t, 1000, '.')), '" + "-" * 100 + "'))",
     {"l": LONG_LIST, "t": "x"}),
    ("regexp_matches(t, '(a+)+$')", {"t": "a" * 100_000 + "b"}),
    ("regexp_matches(t, '^(([a-z])+.)+[A-Z]([a-z])+$')", {"t": "a" * 100_000}),
    ("levenshtein(t, reverse(t))", {"t": "ab" * 20_000}),
    ("list_sort(list_concat(l, list_concat(l, l)))", {"l": LONG_LIST}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "inputs"), BOUNDED, ids=lambda value: repr(value)[:40])
def test_hostile_data_is_bounded_in_time(source: str, inputs: dict[str, object]) -> None:
    started = time.monotonic()
    try:
        evaluate(source, inputs, timeout_s=1.0)
    except PortalError as error:
        assert error.code.startswith("expressions.")
    assert time.monotonic() - started < 20.0  # of which one second is allowed to the engine; the rest is a busy machine
    assert evaluate("1 + 1", {}) == 2  # the engine is fit for the next one
