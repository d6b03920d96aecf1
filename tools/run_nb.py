#!/usr/bin/env python
"Run notebooks top to bottom and store their outputs; cells carrying a flag that is not asked for keep the outputs they have"
import argparse,os,resource,subprocess,sys,time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', str(os.cpu_count()))
os.environ.setdefault('PYTHONWARNINGS', 'ignore:`torch.jit.script`:FutureWarning') # from inside timm's imports, with the path of this machine
from execnb.nbio import read_nb,write_nb
from execnb.shell import CaptureShell
from nbdev.config import get_config
from nbdev.process import extract_directives
import stamps

def skipper(flags):
    "A function that is true for the cells to leave alone: the exporting cell, `eval: false`, and cells with a flag among `flags`"
    def _skip(cell):
        if cell.cell_type!='code' or 'nbdev_export(' in cell.source: return True
        d = extract_directives(cell, remove=False)
        if d.get('eval:', [''])[0].lower()=='false' or flags & set(d): return True
        cell.outputs = [] # what this cell showed last time must not outlive it when it now shows nothing
    return _skip

def run(fn, flags):
    "Execute `fn` in its own folder and write it back; at the first error say which cell it was and write nothing"
    sys.path.insert(0, str(get_config().config_path))
    os.chdir(fn.parent)
    shell,nb = CaptureShell(fn.name, mpl_format='png'),read_nb(fn.name)
    try: shell.run_all(nb, exc_stop=True, preproc=skipper(flags))
    except BaseException: sys.exit(shell.prettytb(fname=fn.name))
    write_nb(nb, fn.name)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('nbs', nargs='+', type=Path, help='notebooks, run in this order, each in a process of its own')
    p.add_argument('--flags', default='', help="flags to run as well, separated by blanks: 'slow'")
    p.add_argument('--here', action='store_true', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.here: return run(a.nbs[0].resolve(), set(get_config().tst_flags.split()) - set(a.flags.split()))
    cpu = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    for fn in a.nbs:
        t,c = time.time(),cpu()
        r = subprocess.run([sys.executable, __file__, str(fn), '--flags', a.flags, '--here'])
        if r.returncode: sys.exit(r.returncode)
        stamps.write(fn, set(a.flags.split()), cpu()-c)
        print(f'{fn.name}: {time.time()-t:.0f} s')

if __name__=='__main__': main()
