"""A trained model as files that other programs read: ONNX, parquet, faiss, safetensors and a model card."""
