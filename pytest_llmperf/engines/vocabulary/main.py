"""Serves the vocabulary of a small model: ``python -m pytest_llmperf.engines.vocabulary.main FILE ADDRESS LIFE``.

ADDRESS and LIFE are file descriptors. llama.cpp's server for the model is started, and its address written to ADDRESS.
The process ends with the pipe LIFE, which the process that started it holds open, and with that process.
"""

from __future__ import annotations

import os
import sys

from pytest_llmperf.system.child_process import end_with_parent


def main(arguments: list[str]) -> None:
    """Runs the process with the arguments of its command line, and ends it."""
    end_with_parent()
    file, address, life = arguments[0], int(arguments[1]), int(arguments[2])
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a context on a GPU would count there as somebody's
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.port = 256, 1, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = params.ui = params.enable_chat_template = False
    server = xllamacpp.Server(params)
    os.write(address, server.listening_address.encode())
    os.close(address)
    os.read(life, 1)
    # Destroying the server object can wait for ever on its own thread; the process has nothing left to save.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
