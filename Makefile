# Short names; `make help` lists them. NB=notebook or folder, FLAGS='slow net'. PY=.venv/bin/ uses an environment that is not activated.
NB ?=
FLAGS ?=
BASE ?= origin/main
.DEFAULT_GOAL := help
.PHONY: help new remove export clean test affected slow run book gpu variants kernel readme site rules check

help: ## this list
	@grep -E '^[a-z]+ *:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+) *:.*## (.*)/\1\t\2/' | expand -t 12
new: ## begin the page of a method: NAME=section/NN_name METHOD=xyz, and if known TITLE= PAPER=2002.05709 TAKES='simclr byol' COVERS='C16'
	$(PY)python tools/new.py $(NAME) $(if $(METHOD),--method $(METHOD)) $(if $(TITLE),--title '$(TITLE)') $(if $(PAPER),--paper '$(PAPER)') $(if $(TAKES),--takes '$(TAKES)') $(if $(COVERS),--covers '$(COVERS)')
remove: ## take a page away, and all that was made from it: NAME=section/NN_name
	$(PY)python tools/new.py $(NAME) --remove
export: ## write the package from the notebooks
	$(PY)nbdev_export
clean: ## strip the notebooks of what is no content
	$(PY)nbdev_clean
test: ## run all pages, or NB=
	$(PY)nbdev_test --do_print --flags '$(FLAGS)' $(if $(NB),--path $(NB))
affected: ## run the pages that what has changed since BASE=origin/main can have reached
	$(PY)python tools/test_pages.py --base $(BASE)
slow: ## as test, with the cells flagged slow
	$(PY)nbdev_test --do_print --flags 'slow $(FLAGS)' $(if $(NB),--path $(NB))
run: ## run NB= and store its outputs; FLAGS=slow those of the slow cells too
	$(PY)python tools/run_nb.py --flags '$(FLAGS)' $(NB)
book: ## make anew what is made from the facts in title cells: map, tables, coverage, landing page
	$(PY)python tools/run_nb.py --book
	$(PY)python tools/readme.py
variants: ## run NB= as other machines would
	$(PY)python tools/variants.py $(VARIANTS) $(if $(NB),--nb $(NB))
kernel: ## run NB= in a real kernel, as JupyterLab does
	$(PY)python tools/run_kernel.py --flags '$(FLAGS)' $(NB)
gpu: ## run the cells flagged cuda and hold every method against the CPU
	$(PY)python tools/gpu_check.py
readme: ## make README.md from nbs/index.ipynb
	$(PY)python tools/readme.py
site: ## build the site in _docs
	$(PY)python tools/build_site.py
rules: ## say what breaks a rule of CONTRIBUTING.md, everywhere or in NB=
	$(PY)python tools/check_nbs.py $(NB)
check: clean export ## what continuous integration will say
	git diff --exit-code
	$(PY)python tools/readme.py --check
	$(PY)python tools/check_nbs.py --shrink
	$(PY)nbdev_test --do_print
