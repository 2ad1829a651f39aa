"""Writes the smallest model that llama.cpp loads: a byte a token, one layer, random weights. It talks nonsense.

python llama_model.py FILE
"""

import sys

import gguf
import numpy as np

CONTEXT, WIDTH, HEADS = 512, 32, 2
SPECIAL = ("<unk>", "<s>", "</s>")
TOKENS = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
TYPES = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
SQUARE, VOCABULARY, LINE = (WIDTH, WIDTH), (len(TOKENS), WIDTH), (WIDTH,)
SHAPES = {
    "token_embd": VOCABULARY,
    "output": VOCABULARY,
    "output_norm": LINE,
    "blk.0.attn_norm": LINE,
    "blk.0.ffn_norm": LINE,
    **{f"blk.0.attn_{name}": SQUARE for name in ("q", "k", "v", "output")},
    **{f"blk.0.ffn_{name}": SQUARE for name in ("gate", "up", "down")},
}


def write(path: str) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types(TYPES)
    rng = np.random.default_rng(20261124)
    for name, shape in SHAPES.items():
        writer.add_tensor(f"{name}.weight", rng.normal(0, 0.1, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(sys.argv[1])
