"""Print the best items after a history: `python top_items.py FOLDER ITEM_ID …`."""

import json
import sys
from pathlib import Path

import faiss
import numpy as np
import onnxruntime
import pyarrow.parquet as pq


def main(folder: Path, history: list[str], top_k: int = 10) -> None:
    """Print the best item ids and their scores."""
    facts = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    if (facts["version"], facts["kind"]) != (1, "vectors"):
        sys.exit(f"{folder}: this script reads version 1 of vectors, not {facts['version']} of {facts['kind']}.")
    ids = pq.read_table(folder / "items.parquet", columns=["item_id"])["item_id"].to_pylist()
    number = {item: row + 1 for row, item in enumerate(ids)}  # 0 is padding
    items = np.array([[number[item] for item in history][-facts["max_length"] :]])
    encoder = onnxruntime.InferenceSession(folder / "encoder.onnx")
    (vector,) = encoder.run(None, {"items": items, "lengths": np.array([items.shape[1]])})
    scores, rows = faiss.read_index(str(folder / "index.faiss")).search(vector, min(top_k, len(ids)))
    for row, score in zip(rows[0], scores[0], strict=True):
        print(ids[row], score, sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
