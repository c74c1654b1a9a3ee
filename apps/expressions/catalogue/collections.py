"""Lists, structs and JSON."""

from __future__ import annotations

from apps.expressions.catalogue.model import Function, literal_text


def _list(name: str, signature: str, description: str, example: str, result: str, **facts: object) -> Function:
    return Function(name, "Lists", signature, description, example, result, **facts)  # type: ignore[arg-type]


def _json(name: str, signature: str, description: str, example: str, result: str, **facts: object) -> Function:
    return Function(name, "JSON and structs", signature, description, example, result, **facts)  # type: ignore[arg-type]


FUNCTIONS = (
    _list("list_sum", "list_sum(list)", "Sum of the elements.", "list_sum([1.50, 2.25])", "3.75", args=(1, 1),
          nulls="maybe", fails=True),
    _list("list_avg", "list_avg(list)", "Average of the elements, as DOUBLE.", "list_avg([1, 2])", "1.5", args=(1, 1),
          nulls="maybe", fails=True),
    _list("list_min", "list_min(list)", "The smallest element.", "list_min([3, 1, 2])", "1", args=(1, 1),
          nulls="maybe"),
    _list("list_max", "list_max(list)", "The largest element.", "list_max([3, 1, 2])", "3", args=(1, 1),
          nulls="maybe"),
    _list("list_count", "list_count(list)", "Number of elements that are not NULL.", "list_count([1, NULL])", "1",
          args=(1, 1), nulls="maybe"),
    _list("len", "len(list or text)", "Number of elements, or characters.", "len([1, NULL, 3])", "3", args=(1, 1)),
    _list("list_contains", "list_contains(list, value)", "Whether the value is in the list.",
          "list_contains(['a', 'b'], 'b')", "true", args=(2, 2), nulls="maybe"),
    _list("list_position", "list_position(list, value)", "Position of the value, NULL when it is absent.",
          "list_position(['a', 'b'], 'b')", "2", args=(2, 2), nulls="maybe"),
    _list("list_extract", "list_extract(list, number)", "Element by number; the same as list[number].",
          "list_extract(['a', 'b'], 2)", "b", args=(2, 2), nulls="maybe"),
    _list("list_slice", "list_slice(list, from, to)", "Elements from … to, both included.",
          "list_slice([1, 2, 3, 4], 2, 3)", "[2, 3]", args=(3, 3), nulls="maybe"),
    _list("list_sort", "list_sort(list)", "In ascending order, NULLs last.", "list_sort([3, 1, 2])", "[1, 2, 3]",
          args=(1, 1)),
    _list("list_reverse", "list_reverse(list)", "In reverse order.", "list_reverse([1, 2, 3])", "[3, 2, 1]",
          args=(1, 1)),
    _list("list_distinct", "list_distinct(list)", "Each element once, without NULL; the order is not defined.",
          "list_sort(list_distinct([2, 1, 2]))", "[1, 2]", args=(1, 1)),
    _list("list_concat", "list_concat(list, list)", "Both lists, one after the other.", "list_concat([1], [2, 3])",
          "[1, 2, 3]", args=(2, 2), nulls="maybe"),
    _list("flatten", "flatten(list of lists)", "One list of all elements.", "flatten([[1], [2, 3]])", "[1, 2, 3]",
          args=(1, 1), nulls="maybe"),
    _list("list_value", "list_value(value, …)", "A list; the same as [value, …].", "list_value(1, 2)", "[1, 2]",
          args=(1, 100), nulls="never"),
    _list("list_transform", "list_transform(list, lambda x: …)", "The list with each element replaced.",
          "list_transform([1, 2], lambda x: x * 10)", "[10, 20]", args=(2, 2), fails=True, lambdas=(1,)),
    _list("list_filter", "list_filter(list, lambda x: …)", "The elements for which the condition is true.",
          "list_filter([1, 2, 3], lambda x: x > 1)", "[2, 3]", args=(2, 2), fails=True, lambdas=(1,)),
    _list("list_reduce", "list_reduce(list, lambda a, x: … [, start])", "Folded to one value.",
          "list_reduce([1, 2, 3], lambda a, x: a + x)", "6", args=(2, 3), nulls="maybe", fails=True, lambdas=(1,)),
    _list("list_any_value", "list_any_value(list)", "The first element that is not NULL.",
          "list_any_value([NULL, 'a'])", "a", args=(1, 1), nulls="maybe"),
    _list("array_to_string", "array_to_string(list, separator)", "Joined as one text.",
          "array_to_string(['a', 'b'], ', ')", "a, b", args=(2, 2), nulls="maybe", guard=literal_text(1)),
    _json("struct_pack", "struct_pack(name := value, …)", "A struct; the same as {'name': value}.",
          "struct_pack(a := 1).a", "1", args=(1, 100), nulls="never"),
    _json("struct_extract", "struct_extract(struct, 'name')", "A field; the same as struct.name.",
          "struct_extract({'a': 1}, 'a')", "1", args=(2, 2), nulls="maybe", guard=literal_text(1)),
    _json("json_extract", "json_extract(json, path)", "A part as JSON; the same as json -> path.",
          """json_extract('{"a": {"b": 7}}', '$.a.b')""", "7", args=(2, 2), nulls="maybe", fails=True,
          guard=literal_text(1)),
    _json("json_extract_string", "json_extract_string(json, path)", "A part as text; the same as json ->> path.",
          """json_extract_string('{"a": {"b": "x"}}', '$.a.b')""", "x", args=(2, 2), nulls="maybe", fails=True,
          guard=literal_text(1)),
    _json("json_exists", "json_exists(json, path)", "Whether the path exists.",
          """json_exists('{"a": null}', '$.a')""", "true", args=(2, 2), nulls="maybe", fails=True,
          guard=literal_text(1)),
    _json("json_type", "json_type(json [, path])", "Kind of the value: OBJECT, ARRAY, VARCHAR, UBIGINT, …",
          """json_type('[1]')""", "ARRAY", args=(1, 2), nulls="maybe", fails=True, guard=literal_text(1)),
    _json("json_array_length", "json_array_length(json [, path])", "Number of elements of a JSON array.",
          "json_array_length('[1, 2]')", "2", args=(1, 2), nulls="maybe", fails=True, guard=literal_text(1)),
    _json("json_keys", "json_keys(json [, path])", "Names in a JSON object.", """json_keys('{"a": 1, "b": 2}')""",
          "[a, b]", args=(1, 2), nulls="maybe", fails=True, guard=literal_text(1)),
    _json("json_valid", "json_valid(text)", "Whether the text is JSON.", "json_valid('{')", "false", args=(1, 1)),
    _json("to_json", "to_json(value)", "As JSON.", "to_json([1, 2])", "[1,2]", args=(1, 1), nulls="maybe"),
)
