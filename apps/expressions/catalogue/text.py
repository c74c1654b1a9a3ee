"""Text functions."""

from __future__ import annotations

from apps.expressions.catalogue.model import Function, both, bounded_literal, literal_text
from apps.expressions.choices import Limits
from apps.expressions.tree import Call, Number

CATEGORY = "Text"
# What the engine's trim() removes: the Unicode space separators (category Zs), no tabs or line ends.
SPACES = "U&' \\00A0\\1680\\2000\\2001\\2002\\2003\\2004\\2005\\2006\\2007\\2008\\2009\\200A\\202F\\205F\\3000'"
UTF8 = 'COLLATE "pg_c_utf8"'  # simple case mapping code point by code point, as the engine does


def _positive(position: int):  # type: ignore[no-untyped-def]
    def guard(call: Call) -> str | None:
        node = call.args[position] if position < len(call.args) else None
        if node is None or (isinstance(node, Number) and node.value.isdigit() and int(node.value) >= 1):
            return None
        return f"argument {position + 1} of {call.name}() is not a positive number written out"

    return guard


def _text(name: str, signature: str, description: str, example: str, result: str, **facts: object) -> Function:
    return Function(name, CATEGORY, signature, description, example, result, **facts)  # type: ignore[arg-type]


_WIDTH = both(bounded_literal(1, Limits.PAD_WIDTH))

FUNCTIONS = (
    _text("upper", "upper(text)", "Upper case.", "upper('eur')", "EUR", args=(1, 1),
          postgres=f"upper({{0}} {UTF8})", pg_args=("text",)),
    _text("lower", "lower(text)", "Lower case.", "lower('EUR')", "eur", args=(1, 1),
          postgres=f"lower({{0}} {UTF8})", pg_args=("text",)),
    _text("trim", "trim(text [, characters])", "Without spaces (or the given characters) at both ends.",
          "trim('  a b ')", "a b", args=(1, 2), postgres=f"btrim({{0}}, {{1|{SPACES}}})", pg_args=("text",)),
    _text("ltrim", "ltrim(text [, characters])", "Without spaces (or the given characters) at the start.",
          "ltrim('00042', '0')", "42", args=(1, 2), postgres=f"ltrim({{0}}, {{1|{SPACES}}})", pg_args=("text",)),
    _text("rtrim", "rtrim(text [, characters])", "Without spaces (or the given characters) at the end.",
          "rtrim('42..', '.')", "42", args=(1, 2), postgres=f"rtrim({{0}}, {{1|{SPACES}}})", pg_args=("text",)),
    _text("length", "length(text)", "Number of characters; of a list, the number of elements.",
          "length('Zürich')", "6", args=(1, 1), postgres="length({0})::bigint", pg_args=("text",)),
    _text("substring", "substring(text, start [, length])", "Part of a text; the first character is 1.",
          "substring('invoice', 3, 4)", "voic", args=(2, 3), postgres="substring({all})",
          pg_args=("text", "integer"), pg_guard=both(_positive(1), _positive(2))),
    _text("substr", "substr(text, start [, length])", "The same as substring.",
          "substr('invoice', 3)", "voice", args=(2, 3), postgres="substr({all})", pg_args=("text", "integer"),
          pg_guard=both(_positive(1), _positive(2))),
    _text("left", "left(text, count)", "The first characters.", "left('invoice', 3)", "inv", args=(2, 2),
          postgres="left({0}, {1})", pg_args=("text", "integer"), pg_guard=_positive(1)),
    _text("right", "right(text, count)", "The last characters.", "right('invoice', 3)", "ice", args=(2, 2),
          postgres="right({0}, {1})", pg_args=("text", "integer"), pg_guard=_positive(1)),
    _text("concat", "concat(value, …)", "Joined as one text; NULL counts as empty.",
          "concat('INV', '-', 7, NULL)", "INV-7", args=(1, 20), nulls="never", postgres="concat({all})",
          pg_args=("text_or_integer",)),
    _text("concat_ws", "concat_ws(separator, value, …)", "Joined with a separator; NULLs are left out.",
          "concat_ws(', ', 'Bern', NULL, 'CH')", "Bern, CH", args=(2, 20), nulls="maybe",
          postgres="concat_ws({all})", pg_args=("text", "text_or_integer")),
    _text("replace", "replace(text, from, to)", "Every occurrence replaced.", "replace('1.234,50', '.', '')",
          "1234,50", args=(3, 3), guard=literal_text(2), postgres="replace({all})", pg_args=("text",)),
    _text("translate", "translate(text, from, to)", "Characters replaced one by one.",
          "translate('2,5 kg', ',', '.')", "2.5 kg", args=(3, 3), guard=literal_text(2),
          postgres="translate({all})", pg_args=("text",)),
    _text("contains", "contains(text, part)", "Whether the part occurs.", "contains('invoice', 'voi')", "true",
          args=(2, 2), postgres="(strpos({0}, {1}) > 0)", pg_args=("text",)),
    _text("starts_with", "starts_with(text, part)", "Whether the text starts with the part.",
          "starts_with('INV-7', 'INV')", "true", args=(2, 2), postgres="starts_with({0}, {1})", pg_args=("text",)),
    _text("ends_with", "ends_with(text, part)", "Whether the text ends with the part.",
          "ends_with('a.csv', '.csv')", "true", args=(2, 2),
          postgres="(right({0}, length({1})) = {1})", pg_args=("text",)),
    _text("strpos", "strpos(text, part)", "Position of the part, 0 when it does not occur.",
          "strpos('invoice', 'o')", "4", args=(2, 2), postgres="strpos({0}, {1})::bigint", pg_args=("text",)),
    _text("position", "position(part IN text)", "Position of the part, 0 when it does not occur.",
          "position('o' in 'invoice')", "4", args=(2, 2), duckdb="strpos({1}, {0})",
          postgres="strpos({1}, {0})::bigint", pg_args=("text",)),
    _text("split_part", "split_part(text, separator, number)", "The part with that number; the first is 1.",
          "split_part('CH-8001-Zürich', '-', 2)", "8001", args=(3, 3), postgres="split_part({all})",
          pg_args=("text", "text", "integer"), pg_guard=_positive(2)),
    _text("string_split", "string_split(text, separator)", "The parts as a list.",
          "string_split('a;b', ';')", "[a, b]", args=(2, 2)),
    _text("reverse", "reverse(text)", "Characters in reverse order.", "reverse('abc')", "cba", args=(1, 1)),
    _text("lpad", "lpad(text, width, fill)", "Filled up at the start; the width is a number written out, "
          f"at most {Limits.PAD_WIDTH}.", "lpad('42', 6, '0')", "000042", args=(3, 3), fails=True, guard=_WIDTH,
          postgres="lpad({all})", pg_args=("text", "integer", "text"), pg_guard=literal_text(2)),
    _text("rpad", "rpad(text, width, fill)", "Filled up at the end; the width is a number written out, "
          f"at most {Limits.PAD_WIDTH}.", "rpad('42', 4, '.')", "42..", args=(3, 3), fails=True, guard=_WIDTH,
          postgres="rpad({all})", pg_args=("text", "integer", "text"), pg_guard=literal_text(2)),
    _text("repeat", "repeat(text, count)", "The text several times; both are written out and the count is at most "
          "100.", "repeat('ab', 3)", "ababab", args=(2, 2), guard=both(literal_text(0), bounded_literal(1, 100)),
          postgres="repeat({0}, {1})", pg_args=("text", "integer")),
    _text("regexp_matches", "regexp_matches(text, pattern)", "Whether the pattern (RE2) occurs in the text.",
          "regexp_matches('CH-8001', '^[A-Z]{2}-')", "true", args=(2, 2), guard=literal_text(1)),
    _text("regexp_full_match", "regexp_full_match(text, pattern)", "Whether the whole text fits the pattern (RE2).",
          "regexp_full_match('8001', '[0-9]{4}')", "true", args=(2, 2), guard=literal_text(1)),
    _text("regexp_extract", "regexp_extract(text, pattern [, group])", "The first match, or one of its groups.",
          "regexp_extract('INV-0042', '([A-Z]+)-([0-9]+)', 2)", "0042", args=(2, 3),
          guard=literal_text(1)),
    _text("regexp_replace", "regexp_replace(text, pattern, replacement [, 'g'])",
          "The first match replaced; every match with 'g'.", "regexp_replace('a1b2', '[0-9]', '', 'g')", "ab",
          args=(3, 4), guard=both(literal_text(1), literal_text(2), literal_text(3))),
    _text("strip_accents", "strip_accents(text)", "Letters without accents.", "strip_accents('Zürich')", "Zurich",
          args=(1, 1)),
    _text("ascii", "ascii(text)", "Code of the first character.", "ascii('A')", "65", args=(1, 1)),
    _text("chr", "chr(code)", "Character with that code.", "chr(65)", "A", args=(1, 1), fails=True),
    _text("md5", "md5(text)", "MD5 of the text, hexadecimal.", "md5('a')", "0cc175b9c0f1b6a831c399e269772661",
          args=(1, 1), postgres="md5({0})", pg_args=("text",)),
    _text("sha256", "sha256(text)", "SHA-256 of the text, hexadecimal.", "left(sha256('a'), 8)", "ca978112",
          args=(1, 1), postgres="encode(sha256(convert_to({0}, 'UTF8')), 'hex')", pg_args=("text",)),
    _text("levenshtein", "levenshtein(a, b)", "Number of single-character edits between two texts.",
          "levenshtein('Meier', 'Maier')", "1", args=(2, 2)),
    _text("jaro_winkler_similarity", "jaro_winkler_similarity(a, b)", "Likeness of two texts, 0 to 1.",
          "round(jaro_winkler_similarity('Meier', 'Meyer'), 2)", "0.89", args=(2, 2)),
)
