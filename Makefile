# Every target does its own set-up: a virtual environment in .venv with pinned packages (requirements/).
#   PYTHON=...               the interpreter to make it with (3.8 to 3.11)
#   CONFSEG_MXNET=cpu|cuda   the MXNet wheel, instead of the one that fits the machine
# Settings of the experiments: CITYSCAPES_ROOT, CAMVID_ROOT, VOC_ROOT, OWN_ROOT, WEIGHTS, PROFILE, OUT, and ARGS for any other option.

SHELL := /bin/sh
VENV := .venv
RUN := $(VENV)/bin/python
TRAIN := $(VENV)/bin/confseg train
SETUP := sh requirements/bootstrap.sh
CAMVID_ROOT ?= data/camvid
OWN_ROOT ?= data/custom
WEIGHTS ?=
PROFILE ?=
OUT ?=
ARGS ?=
export PYTHON CONFSEG_MXNET

options = $(if $(PROFILE),--profile $(PROFILE)) $(if $(OUT),--out "$(OUT)") $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-tensorboard setup-crf setup-onnx setup-serve setup-distributed setup-notebook setup-docs setup-torch setup-bench reproduce-cityscapes reproduce-camvid reproduce-voc reproduce-own study study-camvid study-drawn dry-run \
	test test-slow test-distributed test-gpu test-torch lint format bench bench-loss bench-data bench-memory bench-workers bench-deploy planning encoder-table onnx-table check-data notebooks docs export doctor clean clean-venv

help:  ## this list
	@echo "make TARGET, each with its own set-up:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-24s %s\n", $$1, $$2}'
	@echo "Settings: CITYSCAPES_ROOT CAMVID_ROOT VOC_ROOT OWN_ROOT WEIGHTS PROFILE OUT ARGS PYTHON CONFSEG_MXNET"

setup:
	@$(SETUP)
setup-test:
	@$(SETUP) test tensorboard onnx serve
setup-tensorboard:
	@$(SETUP) tensorboard
setup-crf:
	@$(SETUP) crf
setup-onnx:
	@$(SETUP) onnx
setup-serve:
	@$(SETUP) serve
setup-distributed:
	@$(SETUP) distributed
setup-notebook:
	@$(SETUP) notebook onnx
setup-docs:
	@$(SETUP) docs
setup-torch:
	@$(SETUP) --venv .venv-torch test torch
setup-bench:
	@$(SETUP) --venv .venv-bench bench

reproduce-cityscapes: setup  ## Tables 3 and 4 on CITYSCAPES_ROOT (4 with WEIGHTS), or else Table 3 on drawn street scenes
	$(if $(or $(CITYSCAPES_ROOT),$(filter full,$(PROFILE))),$(table3),$(TRAIN) drawn $(drawn) $(options))
	$(if $(CITYSCAPES_ROOT),$(if $(filter-out full,$(PROFILE)),,$(table4)))

# how many phases are trained at once decides the last bits of the results: given, not measured, they are the same each time
drawn = $(if $(filter --dry-run,$(ARGS)),,--jobs 2)
table3 = $(TRAIN) table3 $(if $(CITYSCAPES_ROOT),--root "$(CITYSCAPES_ROOT)") $(options)
table4 = $(if $(WEIGHTS),$(TRAIN) table4 --root "$(CITYSCAPES_ROOT)" --weights "$(WEIGHTS)" \
	$(if $(OUT),--out "$(OUT)-table4") $(ARGS),@echo "Table 4 was left out: it starts from ResNet-38's released \
	weights, whose .params file goes into WEIGHTS=FILE (docs/encoders.md)")

dry-run: setup  ## Tables 3, 4 and 5: two steps of each phase at full size, and what they will need on this machine
	$(TRAIN) table3 --dry-run $(ARGS)
	$(TRAIN) table4 --dry-run $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(ARGS)
	$(TRAIN) table5 --dry-run $(ARGS)

reproduce-camvid: setup  ## the same on CamVid (CAMVID_ROOT); PROFILE=quick or full
	$(TRAIN) camvid --root "$(CAMVID_ROOT)" $(options)

reproduce-voc: setup  ## Table 5 on PASCAL VOC (VOC_ROOT)
	$(TRAIN) table5 $(if $(VOC_ROOT),--root "$(VOC_ROOT)") $(options)

reproduce-own: setup  ## the four columns on your own data (OWN_ROOT), groups discovered
	$(TRAIN) own --root "$(OWN_ROOT)" $(options)

study: setup  ## what loss, subnets and groups gain on your own data (OWN_ROOT), beside controls; ARGS=--dry-run says how long
	$(VENV)/bin/confseg study --root "$(OWN_ROOT)" $(options)

study-camvid: setup  ## the same on CamVid (CAMVID_ROOT); PROFILE=quick or full
	$(VENV)/bin/confseg study --data camvid --root "$(CAMVID_ROOT)" $(options)

study-drawn: setup  ## the same on drawn street scenes: 19 classes with look-alikes
	$(RUN) -m experiments.study.drawn $(options)

# two processes, a core for each
pytest = OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2
# by file: what a file's tests share is then made once, not by both processes
test: setup-test  ## the tests, in some minutes
	$(pytest) --dist loadfile -m "not torch and not slow and not distributed and not gpu" $(ARGS)

test-slow: setup-test  ## those that train, stop and go on for minutes
	$(pytest) -m "slow and not torch and not distributed and not gpu" $(ARGS)

test-distributed: setup-test setup-distributed  ## two and three worker processes, by Horovod (built first, some minutes) and dist_sync
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m "distributed and not slow" tests/test_distributed.py $(ARGS)

test-gpu: setup-test  ## what needs a GPU that MXNet 1.9.1 supports, in some minutes: nobody has run it yet
	$(RUN) -m pytest -m gpu tests/test_gpu.py $(ARGS)

test-torch: setup-torch  ## the comparisons with PyTorch (2 GB more, in .venv-torch)
	.venv-torch/bin/python -m pytest -m torch $(ARGS)

lint: setup-test  ## ruff: rules and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: setup-test  ## bring the code into the format that lint checks
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: setup setup-bench  ## this package against others in one table, about a quarter of an hour; ARGS="--rows loss --rounds 5"
	$(RUN) -m experiments.benchmarks.bench $(ARGS)

bench-loss: setup  ## the loss against MXNet's softmax cross-entropy
	$(RUN) -m experiments.benchmarks.bench_loss $(ARGS)

bench-data: setup  ## the loader against GluonCV's, packed and unpacked
	$(RUN) -m experiments.benchmarks.bench_data $(ARGS)

bench-memory: setup  ## what recomputation and in-place batch norm save in training
	$(RUN) -m experiments.benchmarks.bench_memory $(ARGS)

bench-workers: setup  ## two worker processes against one with two threads, and what more would take; some minutes
	$(RUN) -m experiments.benchmarks.bench_workers $(ARGS)

bench-deploy: setup-onnx  ## one network in every form that is deployed: live, exported, fused, INT8, onnxruntime; some minutes
	$(RUN) -m experiments.benchmarks.bench_deploy $(ARGS)

planning: setup  ## what Tables 2 to 5 would cost on GPUs, for docs/planning.md; ARGS="--keep FILE" takes a dry run's figures
	$(RUN) -m experiments.tools.planning $(ARGS)

encoder-table: setup  ## the table of docs/encoders.md; ARGS=--measure measures anew
	$(RUN) -m experiments.tools.encoder_table $(ARGS)

onnx-table: setup-onnx  ## the table of docs/onnx.md: every network as ONNX beside MXNet, most of an hour
	$(RUN) -m experiments.tools.onnx_table $(ARGS)

check-data: setup  ## look a data set through: ARGS="cityscapes ROOT --deep"
	$(VENV)/bin/confseg check $(ARGS)

notebooks: setup-notebook  ## execute experiments/notebooks/
	$(RUN) -m experiments.tools.run_notebooks $(ARGS)

docs: setup-docs  ## build the documentation, with search, into build/docs, and look for broken links
	$(RUN) -m sphinx -q -E -W --keep-going -b html -c docs . build/docs
	$(RUN) -m experiments.tools.links --built build/docs

export: setup  ## write the tables' networks to symbols/
	$(RUN) -m experiments.tools.export_symbols $(ARGS)

doctor: setup  ## what works here, and what does not
	@$(VENV)/bin/confseg doctor $(ARGS)

clean:  ## remove what tests and builds leave behind
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

clean-venv:  ## remove the virtual environments
	rm -rf .venv .venv-torch .venv-bench
