"""Column names as people mean them: words out of any spelling, abbreviations written out, synonyms made one."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
VAGUE = frozenset({"id", "name", "at", "date", "number", "type", "code", "status", "line", "amount"})
NOISE = frozenset({"the", "of", "fk", "pk", "tbl", "col", "fld"})

ABBREVIATIONS = {
    "acct": "account", "acc": "account", "act": "actual", "addr": "address", "adr": "address", "amt": "amount",
    "avg": "average", "bal": "balance", "bic": "bic", "bldg": "building", "bus": "business", "cat": "category",
    "ccy": "currency", "cntry": "country", "ctry": "country", "co": "company", "cr": "credit", "crt": "created",
    "ct": "count", "cur": "currency", "curr": "currency", "cust": "customer", "cty": "city", "dept": "department",
    "desc": "description", "descr": "description", "dest": "destination", "disc": "discount", "dlv": "delivery",
    "dob": "birthdate", "doc": "document", "dr": "debit", "dt": "date", "emp": "employee", "ext": "external",
    "freq": "frequency", "fname": "firstname", "lname": "lastname", "gl": "ledger", "grp": "group", "ident": "id",
    "inv": "invoice", "lang": "language", "loc": "location", "lst": "last", "max": "maximum", "mgr": "manager",
    "min": "minimum", "mod": "modified", "mth": "month", "nbr": "number", "nm": "name", "no": "number",
    "nr": "number", "num": "number", "ord": "order", "org": "organisation", "organization": "organisation",
    "orig": "original", "pct": "percent", "perc": "percent", "ph": "phone", "pmt": "payment", "po": "purchaseorder",
    "prc": "price", "prd": "period", "prev": "previous", "prod": "product", "pymt": "payment", "qty": "quantity",
    "rcpt": "receipt", "recv": "received", "ref": "reference", "reg": "region", "seq": "sequence", "src": "source",
    "sts": "status", "stat": "status", "sup": "supplier", "supp": "supplier", "tel": "phone", "tgt": "target",
    "tot": "total", "trx": "transaction", "txn": "transaction", "ts": "timestamp", "typ": "type", "upd": "updated",
    "usr": "user", "val": "value", "ven": "supplier", "whs": "warehouse", "wh": "warehouse", "yr": "year",
}  # fmt: skip
SYNONYMS = {
    "client": "customer", "buyer": "customer", "debtor": "customer", "vendor": "supplier", "creditor": "supplier",
    "identifier": "id", "key": "id", "uid": "id", "guid": "id", "uuid": "id", "telephone": "phone",
    "mobile": "phone", "mail": "email", "modified": "updated", "changed": "updated", "edited": "updated",
    "inserted": "created", "added": "created", "vat": "tax", "gst": "tax", "value": "amount", "sum": "amount",
    "surname": "lastname", "familyname": "lastname", "forename": "firstname", "givenname": "firstname",
    "zip": "postcode", "zipcode": "postcode", "postalcode": "postcode", "plz": "postcode", "town": "city",
    "state": "status", "timestamp": "at", "datetime": "at", "time": "at", "on": "at", "item": "line",
    "position": "line", "row": "line", "corporation": "company", "firm": "company", "organisation": "company",
    "comment": "note", "remark": "note", "memo": "note", "text": "description", "title": "name", "label": "name",
    "nation": "country", "land": "country", "count": "quantity", "units": "quantity", "rate": "price",
    "cost": "price", "birthday": "birthdate", "paid": "payment", "bill": "invoice",
}  # fmt: skip
PAIRS = {
    ("first", "name"): "firstname", ("given", "name"): "firstname", ("last", "name"): "lastname",
    ("family", "name"): "lastname", ("zip", "code"): "postcode", ("postal", "code"): "postcode",
    ("post", "code"): "postcode", ("e", "mail"): "email", ("birth", "date"): "birthdate",
    ("purchase", "order"): "purchaseorder", ("date", "time"): "at", ("time", "stamp"): "timestamp",
}  # fmt: skip


@dataclass(frozen=True)
class Likeness:
    """How alike two names are: 0 to 1, and why in words."""

    score: float
    reason: str


def split_words(name: str) -> tuple[str, ...]:
    """Words of a name in small letters: `invTotalUSD`, `inv_total-usd` and `INV TOTAL USD` are the same."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or name
    return tuple(word.lower() for word in _WORDS.findall(plain)) or (name.lower(),)


def to_snake(name: str) -> str:
    """A name as a tidy target column: small letters, words joined by `_`, at most 63 characters."""
    snake = "_".join(split_words(name))[:63].strip("_")
    snake = re.sub(r"[^a-z0-9_]", "", snake) or "column"
    return f"c_{snake}"[:63] if snake[0].isdigit() else snake


@functools.lru_cache(maxsize=8192)
def written_out(name: str) -> tuple[str, ...]:
    """Words with abbreviations written out and well-known pairs joined."""
    words = [ABBREVIATIONS.get(word, word) for word in split_words(name) if word not in NOISE]
    joined: list[str] = []
    for word in words:
        if joined and (joined[-1], word) in PAIRS:
            joined[-1] = PAIRS[joined[-1], word]
        else:
            joined.append(word)
    return tuple(joined) or split_words(name)


@functools.lru_cache(maxsize=8192)
def meaning(name: str) -> tuple[str, ...]:
    """Words written out, singular, with synonyms made one."""
    return tuple(SYNONYMS.get(word, word) for word in (singular(word) for word in written_out(name)))


def singular(word: str) -> str:
    """`invoices` -> `invoice`; good enough for comparing, not for reading."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def compare_names(source: str, target: str, *, source_entity: str = "", target_entity: str = "") -> Likeness:
    """How likely two columns mean the same, by their names.

    Args:
        source, target: column names.
        source_entity, target_entity: their entities, so that `id` of `invoices` is `invoice_id`.
    """
    if source == target:
        return Likeness(1.0, "same name")
    if split_words(source) == split_words(target):
        return Likeness(0.99, "same name in another spelling")
    if written_out(source) == written_out(target):
        return Likeness(0.95, f"same name written out: {' '.join(written_out(target))}")
    left, right = meaning(source), meaning(target)
    if left == right:
        return Likeness(0.9, f"same meaning: {' '.join(right)}")
    for near, far, entity in ((left, right, source_entity), (right, left, target_entity)):
        # `id` of `invoices` is what others call `invoice_id`.
        bare = _without(far, entity)
        if bare != far and bare == _without(near, entity):
            return Likeness(0.88, f"the {' '.join(bare)} of {entity}")
    if sorted(left) == sorted(right):
        return Likeness(0.85, "same words in another order")
    joined_left, joined_right = "".join(left), "".join(right)
    typing = SequenceMatcher(None, joined_left, joined_right, autojunk=False).ratio()
    if typing >= 0.8 and min(len(joined_left), len(joined_right)) >= 5:
        return Likeness(round(typing * 0.85, 3), f"similar name ({typing:.0%})")
    shared, union = set(left) & set(right), set(left) | set(right)
    overlap = len(shared) / len(union)
    if shared - VAGUE and (shared == set(left) or shared == set(right)):
        return Likeness(round(0.5 + 0.3 * overlap, 3), f"shares {', '.join(sorted(shared))}")
    return Likeness(round(0.8 * overlap, 3), f"shares {', '.join(sorted(shared))}" if shared else "different name")


def _without(words: tuple[str, ...], entity: str) -> tuple[str, ...]:
    own = {singular(word) for word in written_out(entity.rsplit(".", 1)[-1])} if entity else set()
    own |= {SYNONYMS.get(word, word) for word in own}
    rest = tuple(word for word in words if word not in own)
    return rest or words
