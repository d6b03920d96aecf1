#!/usr/bin/env python
"Run pages from top to bottom in a real kernel, as JupyterLab starts it, and say which fail; nothing is stored"
import argparse,logging,os,re,sys,time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError,CellTimeoutError,DeadKernelError
import stamps

def run(fn, flags, limit):
    "None if all cells of a page ran that carry no flag but `flags`, else what went wrong"
    nb = nbformat.read(fn, 4)
    nb.cells = [c for c in nb.cells if c.cell_type=='code' and stamps.flagged(c.source)<=flags]
    try: NotebookClient(nb, timeout=limit, kernel_name='python3', resources=dict(metadata=dict(path=fn.parent))).execute()
    except CellExecutionError as e: return f"{e.ename}: {' '.join(e.evalue.split())[:300]}, in\n{re.sub(chr(27)+'[^m]*m', '', e.traceback)}"
    except CellTimeoutError: return f'a cell took longer than {limit} s'
    except DeadKernelError: return 'the kernel died'

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('nbs', nargs='*', type=Path, help='pages; default: all')
    p.add_argument('--flags', default='', help="flagged cells to run as well, separated by blanks: 'slow'")
    p.add_argument('--limit', type=int, default=300, help='seconds that a cell may take')
    a = p.parse_args()
    logging.getLogger('traitlets').setLevel(logging.ERROR) # no news about encryption
    for k in ('OMP_NUM_THREADS','IN_TEST','MPLBACKEND'): os.environ.pop(k, None) # which a reader has not set
    bad,fns = 0,[o.resolve() for o in a.nbs] or stamps.notebooks()
    for fn in fns:
        t = time.time()
        wrong = run(fn, set(a.flags.split()), a.limit)
        bad += bool(wrong)
        print(f"{'FAILED' if wrong else 'ok'}: {stamps.key(fn)} in {time.time()-t:.0f} s{f', {wrong}' if wrong else ''}", flush=True)
    if bad: sys.exit(f'{bad} of {len(fns)} pages failed')

if __name__=='__main__': main()
