"""Makes the two models that the tests run on vLLM: ``python scripts/vllm_models.py FOLDER``, in vLLM's environment.

``tiny-llama`` has random weights (6 MB, 2 KiB of KV cache per token); ``smollm2-135m`` is the bundled model, taken out
of its GGUF (260 MB).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer
from transformers.utils.logging import disable_progress_bar

_PROJECT = Path(__file__).resolve().parent.parent
_VOCABULARY = 1024
_CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"


def make_tiny_llama(folder: Path) -> None:
    """4 layers, 2 KV heads of 64: 2 * 4 * 2 * 64 * 2 bytes of KV cache per token."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
    )
    tokenizer = _tokenizer()
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    # What it says is random, but always something to see: no special token, no half of a character.
    seen = [tokenizer.decode([token], skip_special_tokens=True).strip() for token in range(_VOCABULARY)]
    with torch.no_grad():
        model.lm_head.weight[[token for token, text in enumerate(seen) if not (text and text.isascii())]] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer() -> FastTokenizer:
    """Byte-level, trained on this project's own documentation; every id of the model has a token."""
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    plain.train_from_iterator((_PROJECT / "docs" / "reference.md").read_text(encoding="utf-8").splitlines(), trainer)
    missing = _VOCABULARY - plain.get_vocab_size()
    plain.add_tokens([f"<|spare-{number}|>" for number in range(missing)])
    return FastTokenizer(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", chat_template=_CHAT)


def convert_smollm2(folder: Path) -> None:
    fetch = [sys.executable, "-m", "pytest_llmperf.engines.bundled_model"]
    said = subprocess.run(fetch, cwd=_PROJECT, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout
    gguf = Path(said.splitlines()[-1])
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


if __name__ == "__main__":
    disable_progress_bar()
    target = Path(sys.argv[1])
    make_tiny_llama(target / "tiny-llama")
    convert_smollm2(target / "smollm2-135m")
