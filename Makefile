# make demo    sets up everything and trains a small generator on drawn cats
# make test    sets up everything and runs the tests
# make bench   measures speed beside PyTorch (bench/README.md)
# make torture sets up everything and tries to make training lose work
# make test-cuda-compile   compiles a run for CUDA 13, which needs no GPU (bench/gpu.sh is for those)
# make test-cuda-emulated  computes on a GPU that is emulated, and compares with the CPU

PYTHON_IN_VENV = .venv/bin/python
DEMO = --preset small --max_size 32 --fmap_base 256 --kimg 110 --phase_kimg 12 --fade_kimg 4 \
    --sample_kimg 10

.PHONY: demo test bench torture test-cuda-compile test-cuda-emulated clean-demo
.DELETE_ON_ERROR:

demo: .venv/installed-demo
	@echo "1. Data: cats, of parts that David Revoy drew (CC BY 4.0)"
	@$(PYTHON_IN_VENV) avatars.py data/demo_cats/32 --count 5000
	@$(PYTHON_IN_VENV) resize.py data/demo_cats/32 --min_size 8
	@echo "2. Training: 8 → 16 → 32, about five minutes on two cores"
	@$(PYTHON_IN_VENV) train.py data/demo_cats $(if $(wildcard checkpoint/demo_cats_resume.model),--resume,$(DEMO))
	@echo "3. Grids"
	@$(PYTHON_IN_VENV) generate.py "$$(ls checkpoint/demo_cats_0*.model | tail -n 1)" --out sample/demo_cats/grids --overwrite
	@$(PYTHON_IN_VENV) plot.py demo_cats
	@echo "Look at sample/demo_cats/grids, and at sample/demo_cats for how it learned. make clean-demo removes all of it."

test: .venv/installed-dev
	$(PYTHON_IN_VENV) -m ruff check .
	@echo "Bringing Jittor up; then the tests, which compile some hundred small kernels the first time"
	$(PYTHON_IN_VENV) -m backend
	$(PYTHON_IN_VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder || { status=$$?; \
		grep -hsv -e /_pytest/ -e /pluggy/ -e /xdist/ -e /execnet/ .pytest_cache/crash*; exit $$status; }

bench: .venv/installed-dev
	$(PYTHON_IN_VENV) -m pip install -q torch==2.13.0
	$(PYTHON_IN_VENV) bench/train_step.py --vs torch,fused --size 8,16,32,64,128 --batch 16,16,8,4,4
	$(PYTHON_IN_VENV) bench/train_step.py --vs torch,fused --size 8,16,32,64 --batch 32 --fmap_max 64
	$(PYTHON_IN_VENV) bench/train_step.py --arch stylegan2 --vs torch,scaled --size 32,64 --batch 8 --fmap_max 64
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
	rm -rf data/demo_cats sample/demo_cats checkpoint/demo_cats_*.model

# Without a recipe: where it is not there, or leads nowhere after a system's update, what depends on
# it is made anew.
$(PYTHON_IN_VENV): ;

.venv/installed-demo: requirements-demo.txt requirements.txt setup.sh $(PYTHON_IN_VENV)
	@sh setup.sh requirements-demo.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt requirements-demo.txt requirements.txt setup.sh $(PYTHON_IN_VENV)
	@sh setup.sh requirements-dev.txt
	@touch $@ .venv/installed-demo
