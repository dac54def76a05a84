# make image PROMPT='a red sphere to the left of a blue cube'
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PROMPT ?= a red sphere to the left of a blue cube
export WORKFLOW ?= text_to_image_1024

.PHONY: image test lint bench workflows clean

# $$PROMPT, not $(PROMPT): the shell takes it from the environment, so quotes inside a prompt stay quotes.
image: $(VENV)/.standalone
	@$(BIN)/imagen run "$$WORKFLOW" --prompt "$$PROMPT"

test: $(VENV)/.test lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .

bench: $(VENV)/.standalone
	benchmarks/run.sh

# Writes the graphs in workflows/ and their API twins anew from workflows/build.py.
workflows: $(VENV)/.standalone
	$(BIN)/python workflows/build.py

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

$(VENV)/.test: $(VENV)/.standalone
	$(BIN)/pip install --quiet -e '.[standalone,test]'
	@touch $@
