# make image PROMPT='a 3D emoji of a red fox on a pink background'
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PROMPT ?= a 3D emoji of a red fox on a pink background
SCALE ?= 1.0
export WORKFLOW ?= text_to_image_1024

.PHONY: image editor test quick lint bench bench-if bench-family workflows thumbnails snapshot train-mini clean

# $$PROMPT, not $(PROMPT): the shell takes it from the environment, so quotes inside a prompt stay quotes.
image: $(VENV)/.standalone
	@$(BIN)/imagen run "$$WORKFLOW" --prompt "$$PROMPT"

# Opens the node editor in the browser; Ctrl-C ends it.
editor: $(VENV)/.editor
	@$(BIN)/imagen serve

# A process more than cores (browsers are waited for), five at most, of a thread each. A file stays with one of them.
PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --maxprocesses 5 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.test lint
	$(PYTEST)

# For the hand, between two edits: the rules of the house and the core, but for fuzzing and for whole pictures beside peers.
NOT_QUICK := deepfloyd diffusers controls lying_files batching alignment samplers_exact lora
quick: $(VENV)/.test lint
	$(PYTEST) -q $(NOT_QUICK:%=--ignore-glob='*/test_*%*.py') tests/test_architecture.py tests/core

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/.standalone
	benchmarks/run.sh

# A guided step of DeepFloyd IF beside diffusers, on this CPU; on a GPU see benchmarks/README.md.
bench-if: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/compare_diffusers_if.py --peer-channels-last
	$(BIN)/python benchmarks/if_memory.py

# The relatives' networks beside their peers: the same weights, the same numbers, the seconds of both.
bench-family: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/family.py

# Writes the graphs in workflows/ and their API twins anew from workflows/build.py.
workflows: $(VENV)/.standalone
	$(BIN)/python workflows/build.py

# All that shows or says what the weights draw, anew: the lists of things, the templates', help pages' and README's pictures.
# After new weights, or when a graph draws something else.
thumbnails: $(VENV)/.test
	$(BIN)/imagen data things --write
	$(BIN)/python workflows/thumbnails.py
	$(BIN)/python workflows/help_pictures.py

# Adds new nodes and new inputs at the end to the record that no released graph breaks against.
snapshot: $(VENV)/.standalone
	$(BIN)/python tests/nodes/update_snapshot.py

# imagen-mini from nothing, on a GPU where there is one; stop it with Ctrl-C, the same command goes on.
# make train-mini DRY=--dry-run says what it would cost; SCALE is a factor on every stage's steps.
train-mini: $(VENV)/.train
	@$(BIN)/imagen train mini --scale $(SCALE) $(DRY)

clean:
	rm -rf $(VENV)

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch first, on its own: another package's wider range would bring a newer build with gigabytes of CUDA.
$(VENV)/.standalone: pyproject.toml requirements.txt $(VENV)/.venv
	$(BIN)/pip install --quiet 'torch>=2.4,<=2.13.0'
	$(BIN)/pip install --quiet -e '.[standalone]'
	@touch $@

$(VENV)/.editor: $(VENV)/.standalone
	$(BIN)/pip install --quiet -e '.[standalone,editor]'
	@touch $@

$(VENV)/.train: $(VENV)/.standalone
	$(BIN)/pip install --quiet -e '.[standalone,train]'
	@touch $@

# The oldest editor that the extra allows lies beside the newest: the browser tests (tests/editor) open both.
$(VENV)/.test: $(VENV)/.editor
	$(BIN)/pip install --quiet -e '.[standalone,editor,test]'
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/editor-floor 'comfyui-frontend-package==1.27.10'
	@touch $@
