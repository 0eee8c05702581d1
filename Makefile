# make demo    sets up everything and trains a small generator on rendered symbols
# make test    sets up everything and runs the tests
# make bench   measures speed beside PyTorch (bench/README.md)
# make torture sets up everything and tries to make training lose work
# make test-cuda-compile   compiles a run for CUDA 13, which needs no GPU (bench/gpu.sh is for those)
# make test-cuda-emulated  computes on a GPU that is emulated, and compares with the CPU

PYTHON_IN_VENV = .venv/bin/python
CHARS = OXTLHC+♥★◆●■▲
DEMO = --preset small --max_size 32 --fmap_base 256 --kimg 110 --phase_kimg 24 --fade_kimg 4 --sample_kimg 10

.PHONY: demo test bench torture test-cuda-compile test-cuda-emulated clean-demo
.DELETE_ON_ERROR:

demo: .venv/installed
	@echo "1. Data: coloured symbols of a font"
	@test -d data/demo/8 || $(PYTHON_IN_VENV) symbols.py data/demo/32 --chars '$(CHARS)' --count 4000
	@test -d data/demo/8 || $(PYTHON_IN_VENV) resize.py data/demo/32 --min_size 8
	@echo "2. Training: 8 → 16 → 32, about four minutes on two cores"
	@$(PYTHON_IN_VENV) train.py data/demo $(if $(wildcard checkpoint/demo_resume.model),--resume,$(DEMO))
	@echo "3. Grids"
	@$(PYTHON_IN_VENV) generate.py "$$(ls checkpoint/demo_0*.model | tail -n 1)" --out sample/demo/grids --overwrite
	@$(PYTHON_IN_VENV) plot.py demo
	@echo "Look at sample/demo/grids, and at sample/demo for how it learned. make clean-demo removes all of it."

test: .venv/installed-dev
	$(PYTHON_IN_VENV) -m ruff check .
	@echo "Bringing Jittor up; then the tests, which compile some hundred small kernels the first time"
	$(PYTHON_IN_VENV) -m backend
	$(PYTHON_IN_VENV) -m pytest

bench: .venv/installed-dev
	$(PYTHON_IN_VENV) -m pip install -q torch==2.13.0
	$(PYTHON_IN_VENV) bench/train_step.py --vs torch,fused --size 8,16,32,64,128 --batch 16,16,8,4,4
	$(PYTHON_IN_VENV) bench/train_step.py --vs torch,fused --size 8,16,32,64 --batch 32 --fmap_max 64
	$(PYTHON_IN_VENV) bench/train_step.py --vs lazy,shared --size 16 --batch 16
	$(PYTHON_IN_VENV) bench/neighbour.py --vs torch
	$(PYTHON_IN_VENV) bench/train_step.py --vs lazy,shared --size 16 --batch 32 --fmap_max 64
	$(PYTHON_IN_VENV) bench/train_step.py --vs accum --size 32 --batch 32 --fmap_max 256
	$(PYTHON_IN_VENV) bench/scaling.py --size 8,32,128 --batch 32,16,4
	$(PYTHON_IN_VENV) bench/scaling.py --size 8,16,32,64 --batch 32,16,16,16 --fmap_max 64
	$(PYTHON_IN_VENV) bench/train_step.py --vs torch,fused --generate --size 128 --batch 64
	$(PYTHON_IN_VENV) bench/conv_share.py --size 8,16,32,64,128 --batch 16,16,8,4,4
	$(PYTHON_IN_VENV) bench/conv_table.py
	$(PYTHON_IN_VENV) bench/resize.py
	$(PYTHON_IN_VENV) bench/start.py

torture: .venv/installed-dev
	$(PYTHON_IN_VENV) test/torture/torture.py

test-cuda-compile: .venv/installed-dev
	$(PYTHON_IN_VENV) -m pip install -q -r requirements-cuda13.txt nvidia-nccl-cu13==2.32.3
	$(PYTHON_IN_VENV) -m pytest -s test/backend/test_cuda_compile.py

test-cuda-emulated: .venv/installed-dev
	$(PYTHON_IN_VENV) -m pip install -q -r requirements-cuda13.txt
	$(PYTHON_IN_VENV) -m pytest -s -m emulated

clean-demo:
	rm -rf data/demo sample/demo checkpoint/demo_*.model

.venv/installed: requirements.txt setup.sh
	@sh setup.sh requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt requirements-demo.txt requirements.txt setup.sh
	@sh setup.sh requirements-dev.txt
	@touch $@ .venv/installed
