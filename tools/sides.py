#!/usr/bin/env python
"Every method with encoders of five kinds on folders of four sizes: it trains a step, or is refused in one line; anything else is a fault. Prints a table; exit code 1 with a fault"
import argparse,os,sys,tempfile,warnings
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
SMALL = dict(wmse=dict(d_out=2)) # what a method asks for where a batch is four images
ENCODERS = 'small_resnet small_vit resnet18 vit_tiny_patch16_224 convnext_atto'.split()

def album(path, side, n=10):
    "A folder of noise"
    import numpy as np
    from PIL import Image
    r = np.random.default_rng(0)
    for i in range(n):
        p = Path(path)/'ab'[i%2]/f'{i}.png'
        p.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(r.integers(0, 255, (side,side,3), dtype=np.uint8)).save(p)
    return Path(path)

def tried(method, encoder, data, size):
    "'trains', the line of a refusal, or the name of a fault"
    from ssl_recipes.app.folder import Stopwatch
    from ssl_recipes.app.run import prepare
    from ssl_recipes.app.settings import config
    from ssl_recipes.core.base import BadInput
    try:
        _,learn,*_ = prepare(config(method=method, encoder=encoder, data=data, size=size, bs=4, n=4, set=SMALL.get(method, {}), epochs=1, every=0, bf16=False), Path(tempfile.mkdtemp()), Stopwatch(), lambda _: None)
        learn.quiet_fit(1)
        return 'trains'
    except BadInput as e: return ' '.join(str(e).split())
    except Exception as e: return f"FAULT {type(e).__name__}: {' '.join(str(e).split())}"

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--methods', nargs='*')
    p.add_argument('--sizes', nargs='*', type=int, default=[32,64,96,224])
    a = p.parse_args()
    warnings.simplefilter('ignore')
    os.environ['SSL_RECIPES_CACHE'] = tempfile.mkdtemp()
    from ssl_recipes.app.methods import methods_for
    home,lines,faults = Path(tempfile.mkdtemp()),{},0
    print(f"{'':14}{'':22}"+''.join(f'{s:>8}' for s in a.sizes))
    for m in a.methods or methods_for('folder'):
        for e in ENCODERS:
            cells = []
            for s in a.sizes:
                if not (home/str(s)).exists(): album(home/str(s), s)
                what = tried(m, e, home/str(s), s)
                faults += what.startswith('FAULT')
                cells.append('trains' if what=='trains' else 'FAULT' if what.startswith('FAULT') else f'({lines.setdefault(what, len(lines)+1)})')
                if what.startswith('FAULT'): print(m, e, s, what, file=sys.stderr)
            print(f'{m:14}{e:22}'+''.join(f'{c:>8}' for c in cells), flush=True)
    for k,n in lines.items(): print(f'({n}) {k}')
    return int(faults>0)

if __name__=='__main__': sys.exit(main())
