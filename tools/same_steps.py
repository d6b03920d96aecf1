#!/usr/bin/env python
"Train every method for some steps in float64 with two checkouts, and compare losses, gradients, weights and buffers: what only moved code must leave them as they were"
import argparse,importlib,os,subprocess,sys,tempfile
from pathlib import Path

import torch

def find(name, rooms='build settings methods folder run'):
    "A function of `app`, in whichever of its modules it stands in this checkout"
    for o in rooms.split():
        try: return getattr(importlib.import_module(f'ssl_recipes.app.{o}'), name)
        except (ImportError,AttributeError): pass
    sys.exit(f"no function '{name}' in ssl_recipes.app")

def trace(method, steps):
    "Losses, gradients of the first step, and the state after the last one, as one dictionary of tensors"
    from ssl_recipes.core import proofs
    traced,quiet = getattr(proofs, 'traced', None) or proofs._traced,lambda *_: None
    cfg = find('config')(method=method, bs=128, n=640, n_test=100, epochs=-(-steps//5), threads=1, device='cpu', bf16=False)
    train,_ = find('load_data')(cfg, quiet)
    cfg = find('settle')(cfg, len(train), quiet)
    if None in cfg['set'].values(): cfg = find('by_size')(cfg, len(train), quiet) # once a step of its own
    t = traced(lambda: find('make_learner')(cfg, train), steps, torch.float64)
    return {'losses':t['losses']} | {f'gradient of {k}':v for k,v in t['grads'].items()} | {f'{k} after {steps} steps':v for k,v in t['state'].items()}

def save(to, steps, names):
    "What happens in this checkout, a file for each method"
    for m in names or find('methods')(): torch.save(trace(m, steps), to/f'{m}.pt')

def far(a, b):
    "Where two dictionaries differ most, and by how much, relative to the length of the tensor"
    if odd := a.keys()^b.keys(): return min(odd),float('inf')
    off = lambda x,y: 0. if torch.equal(x, y) else float('inf') if x.shape!=y.shape else ((x.double()-y.double()).norm()/y.double().norm().clamp_min(1e-12)).item()
    return max(((k,off(a[k], b[k])) for k in b), key=lambda o: o[1])

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('old', type=Path, help='root of another checkout')
    p.add_argument('new', type=Path, nargs='?', default=Path(__file__).resolve().parent.parent, help='root of this one')
    p.add_argument('--steps', type=int, default=20)
    p.add_argument('--methods', nargs='*', default=[], help='default: all')
    p.add_argument('--tol', type=float, default=1e-12, help='relative difference that is rounding')
    p.add_argument('--save', type=Path, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.save: return save(a.save, a.steps, a.methods)
    with tempfile.TemporaryDirectory() as d:
        for side,root in (('old',a.old),('new',a.new)):
            (at := Path(d)/side).mkdir()
            subprocess.run([sys.executable, __file__, str(root), '--save', str(at), '--steps', str(a.steps), *(['--methods', *a.methods] if a.methods else [])],
                check=True, env=os.environ|dict(PYTHONPATH=str(root.resolve()), OMP_NUM_THREADS='1'))
        names = {side:{o.stem for o in (Path(d)/side).glob('*.pt')} for side in ('old','new')}
        bad = [f'only one checkout has {m}' for m in sorted(names['old']^names['new'])]
        for m in sorted(names['old']&names['new']):
            k,x = far(*(torch.load(Path(d)/side/f'{m}.pt') for side in ('new','old')))
            print(f"{m:14} {'equal bit for bit' if x==0 else f'{x:.1e} in {k}'}", flush=True)
            if not x<=a.tol: bad.append(m)
    if bad: sys.exit(f"different: {', '.join(bad)}")

if __name__=='__main__': main()
