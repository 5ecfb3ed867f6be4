"""What the Prometheus operator takes, as far as our manifests use it: a part of its custom resource definitions.

Restated from prometheus-operator 0.82, whose schemas no package brings along: the keys, their kinds and patterns.
Kubernetes drops a key that a schema does not know without a word, so here such a key is a mistake.
"""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "object", "additionalProperties": _TEXT}
_DURATION: Final = {
    "type": "string",
    "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
    "minLength": 1,
}


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


_RELABELING: Final = _object(
    sourceLabels=_list({"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}),
    separator=_TEXT,
    targetLabel=_TEXT,
    regex=_TEXT,
    replacement=_TEXT,
    action={"enum": ["replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep"]},
)
_ENDPOINT: Final = _object("port", port=_TEXT, interval=_DURATION, relabelings=_list(_RELABELING))
_SELECTOR: Final = _object("matchLabels", matchLabels=_TEXTS)
_RULE: Final = _object(
    "expr",
    alert=_TEXT,
    record=_TEXT,
    expr={"type": ["string", "integer"]},
    **{"for": _DURATION},
    keep_firing_for=_DURATION,
    labels=_TEXTS,
    annotations=_TEXTS,
) | {"oneOf": [{"required": ["alert"]}, {"required": ["record"]}]}
_GROUP: Final = _object("name", "rules", name=_TEXT, interval=_DURATION, rules=_list(_RULE))


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _object(
        *("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "monitoring.coreos.com/v1"},
        kind={"const": kind},
        metadata=_object("name", "labels", name=_TEXT, labels=_TEXTS),
        spec=spec,
    )


SCHEMAS: Final = {
    "PrometheusRule": _resource("PrometheusRule", _object("groups", groups=_list(_GROUP))),
    "ServiceMonitor": _resource(
        "ServiceMonitor", _object("selector", "endpoints", selector=_SELECTOR, endpoints=_list(_ENDPOINT))
    ),
    "PodMonitor": _resource(
        "PodMonitor",
        _object("selector", "podMetricsEndpoints", selector=_SELECTOR, podMetricsEndpoints=_list(_ENDPOINT)),
    ),
}
