#!/usr/bin/env python
"Run pages under variants of the machine, and say which fail: bfloat16 forced on and off, an older processor, one and two threads, other seeds, a busy machine"
import argparse,json,os,re,subprocess,sys,sysconfig,time
from pathlib import Path

import stamps
from ssl_recipes.core.train import bf16_helps

root = stamps.root
hook = Path(sysconfig.get_path('purelib'))/'variants-of-torch.pth'
trains = re.compile(r'\b(fit|prove_\w+|trained|finetune|train|make_learner|partial_acc)\(')
variants = dict( # name -> environment, and how many busy processes run beside
    plain=({}, 0),
    bf16=(dict(FORCE_BF16='1'), 0),
    float32=(dict(FORCE_BF16='0'), 0),
    avx2=(dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2', FORCE_BF16='0'), 0), # torch's own kernels, and those of its library for convolutions
    threads1=(dict(OMP_NUM_THREADS='1'), 0),
    threads2=(dict(OMP_NUM_THREADS='2'), 0),
    busy=({}, 2))
variants['other'] = (dict(FORCE_BF16=str(int(not bf16_helps()))), 0) # than this machine would take

# Python carries this out before anything else in every process below, also in those that a page starts, with whatever path
custom = '''
import os,sys
from importlib.util import find_spec
class Patch:
    "Changes torch as soon as it has been imported"
    def find_spec(self, name, path=None, target=None):
        if name!='torch': return
        sys.meta_path.remove(self)
        spec = find_spec(name)
        run = spec.loader.exec_module
        def exec_module(m):
            run(m)
            if (force := os.environ.get('FORCE_BF16')) is not None:
                for f in ('_is_amx_tile_supported','_is_avx512_bf16_supported'): setattr(m.cpu, f, lambda: force=='1')
            if by := int(os.environ.get('SHIFT_SEEDS', 0)):
                seed = m.random.manual_seed
                m.manual_seed = m.random.manual_seed = lambda s: seed(int(s)+1000*by)
        spec.loader.exec_module = exec_module
        return spec
if 'Patch' not in {type(o).__name__ for o in sys.meta_path}: sys.meta_path.insert(0, Patch())
'''

def pages(training):
    "All pages, or those whose default cells train or prove"
    def quick(p): return '\n'.join(src for src,kind in stamps.code_cells(json.loads(p.read_text())) if kind=='fast')
    return [p for p in stamps.notebooks() if not training or trains.search(quick(p))]

def environ(name, seed):
    "The environment of a variant, without what the caller's own would add to it"
    env = {k:v for k,v in os.environ.items() if k not in ('OMP_NUM_THREADS','ATEN_CPU_CAPABILITY','ONEDNN_MAX_CPU_ISA')}
    return env | variants[name][0] | dict(SHIFT_SEEDS=str(seed), BEFORE_ALL_ELSE=custom)

def one(name, seed, fns, workers, log):
    "Run pages under one variant with `nbdev_test`: the names of those that failed"
    words = [Path(sys.executable).parent/'nbdev_test', '--do_print', '--file_re', f"^({'|'.join(sorted({re.escape(p.name) for p in fns}))})$"]
    if workers is not None: words += ['--n_workers', str(workers)]
    beside = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(variants[name][1])]
    try: r = subprocess.run(words, cwd=root, env=environ(name, seed), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        for o in beside: o.kill()
    log.write(f'== {name}, seeds shifted by {seed}\n{r.stdout}\n')
    log.flush()
    return re.findall(r'^\t(\S+\.ipynb)$', r.stdout.partition('nbdev Tests Failed On')[2], re.M) or [f'nbdev_test ended with {r.returncode}']*bool(r.returncode)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('names', nargs='*', default=list(variants)[:-1], help=f"variants: {', '.join(variants)}; all but the last if none is named")
    p.add_argument('--nb', nargs='*', type=Path, help='these pages; default: all')
    p.add_argument('--training', action='store_true', help='only pages whose default cells train or prove')
    p.add_argument('--seeds', type=int, default=1, help='times each, with the seeds of torch shifted')
    p.add_argument('--workers', type=int, help='pages at once; default: as nbdev_test chooses')
    p.add_argument('--log', default='variants.log', help='what the tests printed')
    a = p.parse_args()
    if odd := set(a.names)-set(variants): p.error(f"no variant {', '.join(sorted(odd))}: possible are {', '.join(variants)}")
    fns,bad = a.nb or pages(a.training),0
    hook.write_text("import os; exec(os.environ.get('BEFORE_ALL_ELSE', ''), {})\n") # does nothing where that is not set
    with open(a.log, 'a') as log:
        for name in a.names:
            for seed in range(a.seeds):
                t = time.time()
                failed = one(name, seed, fns, a.workers, log)
                bad += len(failed)
                print(f"{name}{f', seeds {seed}' if a.seeds>1 else ''}: {len(fns)-len(failed)} of {len(fns)} pages passed in {time.time()-t:.0f} s"+''.join(f'\n  FAILED {o}' for o in failed), flush=True)
    if bad: sys.exit(f'{bad} failures; what they printed is in {a.log}')

if __name__=='__main__': main()
