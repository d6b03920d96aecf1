#!/usr/bin/env python
"Run notebooks top to bottom and store their outputs; cells carrying a flag that is not asked for keep the outputs they have"
import argparse,json,os,resource,subprocess,sys,tempfile,time
from contextlib import suppress
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', str(os.cpu_count()))
os.environ.setdefault('PYTHONWARNINGS', 'ignore:`torch.jit.script`:FutureWarning') # from inside timm's imports, with the path of this machine
import psutil
from execnb.nbio import read_nb,write_nb
from execnb.shell import CaptureShell
from nbdev.config import get_config
import pictures,stamps
from cells import directives

def skipper(flags):
    "A function that is true for the cells to leave alone: the exporting cell, `eval: false`, and cells with a flag among `flags`"
    def _skip(cell):
        if cell.cell_type!='code' or 'nbdev_export(' in cell.source: return True
        d,_ = directives(cell.source)
        if d.get('eval', '').lower()=='false' or flags & set(d): return True
        cell.outputs = [] # what this cell showed last time must not outlive it when it now shows nothing
    return _skip

class Shell(CaptureShell):
    "A shell in which a semicolon at the end of a cell hides the value of its last line, as in Jupyter, and not what the cell has printed, too"
    def _run(self, raw_cell, *args, **kw):
        out = super()._run(f'{raw_cell}\n# ' if raw_cell.rstrip().endswith(';') else raw_cell, *args, **kw)
        out.quiet = raw_cell.rstrip().endswith(';')
        return out

def spent():
    "Processor seconds of this process since it began, and of all that it has started, those included that a process server has started for it"
    there = 0
    for p in psutil.Process().children(recursive=True):
        with suppress(psutil.Error): there += sum(p.cpu_times()[:4]) # its own and those of its children that have ended
    return there+sum(sum(resource.getrusage(o)[:2]) for o in (resource.RUSAGE_SELF,resource.RUSAGE_CHILDREN))

YARDSTICK = 0.5 # seconds that `yardstick` takes on the machine that limits are meant for

def yardstick():
    "Processor seconds of a small training, by which machines can be compared: the least of five"
    import torch
    torch.set_num_threads(1)
    def job():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3, stride=2), torch.nn.Flatten(), torch.nn.Linear(32*36, 64))
        x,opt,t = torch.randn(64, 3, 16, 16),torch.optim.SGD(net.parameters(), lr=0.1),time.process_time()
        for _ in range(60):
            net(x).square().mean().backward()
            opt.step()
            opt.zero_grad()
        return time.process_time()-t
    return min(job() for _ in range(5))

def run(fn, flags, store=True):
    "Execute `fn` in its own folder and write it back; at the first error say which cell it was and write nothing. Gives the processor seconds of its quick and of its slow cells; to begin is quick"
    sys.path.insert(0, str(get_config().config_path))
    os.chdir(fn.parent)
    shell,nb,seconds,last = Shell(fn.name, mpl_format='png'),read_nb(fn.name),dict(fast=0,slow=0),0
    def again(): return spent()-getattr(sys.modules.get('ssl_recipes.app.page'), 'ONCE', [0.])[0] # short runs are trained once, and looked up ever after
    def charge(cell):
        nonlocal last
        now = again()
        seconds['slow' if stamps.flagged(cell.source) else 'fast'] += now-last
        last = now
        pictures.shrink(cell)
    try: shell.run_all(nb, exc_stop=True, preproc=skipper(flags), postproc=charge)
    except BaseException: sys.exit(shell.prettytb(fname=fn.name))
    if store: write_nb(nb, fn.name)
    return seconds

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('nbs', nargs='*', type=Path, help='notebooks, run in this order, each in a process of its own')
    p.add_argument('--flags', default='', help="flags to run as well, separated by blanks: 'slow'")
    p.add_argument('--time', action='store_true', help='only measure the quick cells and note their seconds: notebooks and the rest of the notes stay as they are')
    p.add_argument('--book', action='store_true', help='the pages that show what stands in the title cells of others, as far as these have changed')
    p.add_argument('--here', type=Path, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.book: a.nbs += [fn for fn in stamps.notebooks() if stamps.reads_facts(json.loads(fn.read_text())) and 'fast' in stamps.stale(fn, stamps.read())]
    flags = set() if a.time else set(a.flags.split())
    if a.here: return a.here.write_text(json.dumps(run(a.nbs[0].resolve(), set(get_config().tst_flags.split())-flags, not a.time)))
    slower = yardstick()/YARDSTICK if a.nbs else 1. # seconds are noted as that machine would take them
    for fn in a.nbs:
        t = time.time()
        with tempfile.TemporaryDirectory() as d:
            r = subprocess.run([sys.executable, __file__, str(fn), '--flags', a.flags, *['--time']*a.time, '--here', f'{d}/seconds'], env=os.environ|({} if a.time else dict(SSL_RECIPES_NOTE='1'))) # short runs are written down
            if r.returncode: sys.exit(r.returncode)
            seconds = {k:s/slower for k,s in json.loads(Path(f'{d}/seconds').read_text()).items()}
        if a.time: stamps.time_only(fn, seconds)
        else: stamps.write(fn, flags, seconds)
        print(f"{fn.name}: {time.time()-t:.0f} s; of processor time quick cells {seconds['fast']:.0f} s, slow cells {seconds['slow']:.0f} s")

if __name__=='__main__': main()
