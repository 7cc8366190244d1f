"""Print the best items after a history: `python top_items.py FOLDER USER_NUMBER ITEM_ID …`."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq


def main(folder: Path, user: int, history: list[str], top_k: int = 10) -> None:
    """Print the best item ids and their log-probabilities."""
    facts = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    if (facts["version"], facts["kind"]) != (1, "tiger"):
        sys.exit(f"{folder}: this script reads version 1 of tiger, not {facts['version']} of {facts['kind']}.")
    ids = pq.read_table(folder / "items.parquet", columns=["item_id"])["item_id"].to_pylist()
    number = {item: row + 1 for row, item in enumerate(ids)}  # 0 is padding
    items = np.array([[number[item] for item in history][-facts["max_length"] :]])
    encoder, decoder = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("encoder", "decoder"))
    inputs = {"items": items, "lengths": np.array([items.shape[1]]), "users": np.array([user])}
    states, mask = encoder.run(None, {name.name: inputs[name.name] for name in encoder.get_inputs()})
    tree = np.load(folder / "tree.npz", allow_pickle=False)
    begins = np.cumsum([0, *facts["sizes"]])
    beams: list[tuple[float, int, list[int]]] = [(0.0, 0, [])]  # log-probability, node, codes
    for level in range(len(facts["sizes"])):
        codes = np.array([beam[2] + [0] * (len(facts["sizes"]) - level) for beam in beams])
        rows = {"states": states.repeat(len(beams), 0), "mask": mask.repeat(len(beams), 0), "codes": codes}
        logits = decoder.run(None, rows)[0][:, begins[level] : begins[level + 1]]
        grown = []
        for row, (score, node, spelt) in zip(logits, beams, strict=True):
            slots = np.arange(*tree[f"first{level}"][node : node + 2])  # the children of the node
            following = tree[f"code{level}"][slots]
            kept = row[following]
            logs = kept - kept.max() - np.log(np.exp(kept - kept.max()).sum())
            grown += [
                (score + log, slot, [*spelt, code]) for log, slot, code in zip(logs, slots, following, strict=True)
            ]
        beams = sorted(grown, key=lambda beam: -beam[0])[: facts["beams"]]
    for score, slot, _ in beams[:top_k]:
        print(ids[tree["item"][slot] - 1], score, sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
