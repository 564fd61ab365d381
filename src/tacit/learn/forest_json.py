"""A forest in XGBoost's JSON model format.

"Introduction to Model IO" in XGBoost's documentation, and the JSON schema beside it. Gains and
Hessian sums of single nodes are not kept, so they are written as zero.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tacit.base.vector import Vector
from tacit.learn.forest import Forest

NO_PARENT = 2**31 - 1
VERSION = [2, 0, 0]
"""The oldest XGBoost whose format this is; later ones read it too."""


def xgboost_json(forest: Forest, params: Vector, objective: str) -> str:
    """The finished trees as text; `objective` is "binary:logistic" or "reg:squarederror"."""
    count = forest.growing(params)[0]
    trees = [_tree(forest, params, index) for index in range(count)]
    model = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
        "iteration_indptr": list(range(count + 1)),
        "tree_info": [0] * count,
        "trees": trees,
    }
    learner = {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {
            "base_score": "5E-1" if objective == "binary:logistic" else "0E0",
            "boost_from_average": "0",
            "num_class": "0",
            "num_feature": str(forest.features),
            "num_target": "1",
        },
        "objective": {"name": objective, "reg_loss_param": {"scale_pos_weight": "1"}},
    }
    return json.dumps({"learner": learner, "version": VERSION})


def _tree(forest: Forest, params: Vector, index: int) -> dict[str, Any]:
    """One tree; a node that was not split gives way to its left child."""
    nodes: list[dict[str, Any]] = []
    _add(forest, params, index, nodes, (0, 0), NO_PARENT)
    size = len(nodes)
    columns = {name: [node[name] for node in nodes] for name in nodes[0]}
    none: dict[str, list[int]] = {
        f"categories{part}": [] for part in ("", "_nodes", "_segments", "_sizes")
    }
    zeros = {"loss_changes": [0.0] * size, "sum_hessian": [0.0] * size}
    small = {"default_left": [0] * size, "split_type": [0] * size, "id": index}
    param = {
        "num_deleted": "0",
        "num_feature": str(forest.features),
        "num_nodes": str(size),
        "size_leaf_vector": "1",
    }
    return {**columns, **none, **zeros, **small, "tree_param": param}


def _add(
    forest: Forest,
    params: Vector,
    tree: int,
    nodes: list[dict[str, Any]],
    at: tuple[int, int],
    parent: int,
) -> int:
    """Append the subtree at `at`, a level and a node of it; returns its number in the file."""
    parts, (level, node) = forest.layout.unpack(params), at
    while level < forest.depth and parts["bin"][tree, 2**level - 1 + node] >= forest.bins:
        level, node = level + 1, 2 * node
    number = len(nodes)
    if level == forest.depth:
        nodes.append(_node(parent, 0, parts["leaf"][tree, node]))
        return number
    place = 2**level - 1 + node
    edge = forest.edges[int(parts["bin"][tree, place]) - 1]
    nodes.append(_node(parent, int(parts["feature"][tree, place]), edge))
    for side, name in enumerate(("left_children", "right_children")):
        below = (level + 1, 2 * node + side)
        nodes[number][name] = _add(forest, params, tree, nodes, below, number)
    nodes[number]["base_weights"] = 0.0
    return number


def _node(parent: int, feature: int, value: float) -> dict[str, Any]:
    """A leaf of that value; a split once it has children. Numbers as short as float32 allows."""
    short = float(str(np.float32(value)))
    return {
        "parents": parent,
        "left_children": -1,
        "right_children": -1,
        "split_indices": feature,
        "split_conditions": short,
        "base_weights": short,
    }
