# Short names; NB=notebook or folder, FLAGS='slow net'. PY=.venv/bin/ uses an environment that is not activated.
NB ?=
FLAGS ?=
.PHONY: export clean test slow run gpu variants kernel readme site check

export: ; $(PY)nbdev_export
clean:  ; $(PY)nbdev_clean
test:   ; $(PY)nbdev_test --do_print --flags '$(FLAGS)' $(if $(NB),--path $(NB))
slow:   ; $(PY)nbdev_test --do_print --flags 'slow $(FLAGS)' $(if $(NB),--path $(NB))
run:    ; $(PY)python tools/run_nb.py --flags '$(FLAGS)' $(NB)
variants: ; $(PY)python tools/variants.py $(VARIANTS) $(if $(NB),--nb $(NB))
kernel: ; $(PY)python tools/run_kernel.py --flags '$(FLAGS)' $(NB)
gpu:    ; $(PY)python tools/gpu_check.py
readme: ; $(PY)python tools/readme.py
site:   ; $(PY)python tools/build_site.py
check: clean export
	git diff --exit-code
	$(PY)python tools/readme.py --check
	$(PY)python tools/check_nbs.py
	$(PY)nbdev_test --do_print
