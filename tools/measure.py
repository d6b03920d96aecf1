#!/usr/bin/env python
"Train and judge the main jobs for several seeds, and append what was measured to results/*.jsonl; a row that is there is not made again"
import argparse,hashlib,json,os,platform,sys,tempfile,time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT)) # the package of this folder, installed or not
KEY = 'data method encoder epochs bs lr seed n n_test size crop test_size set views'.split() # what decides a result

def key(cfg):
    "A short name for a configuration: two runs with the same key are the same run"
    return hashlib.sha256(json.dumps({k:cfg[k] for k in KEY}, sort_keys=True, default=str).encode()).hexdigest()[:12]

def rows_of(data, seed, epochs):
    "Train and judge one configuration; the method's row and the trivial rows beside it"
    from ssl_recipes.app import run as R
    from ssl_recipes.evaluation.baselines import PROTOCOL
    with tempfile.TemporaryDirectory() as d:
        run = R.open_run(R.train(Path(d)/'run', report=False, bar=False, data=data, seed=seed, epochs=epochs))
        train,held = run.data()
        rows = R.judgement(run, train, held, supervised=True)
        rows[0]['seconds'] = run.read('metrics')[-1]['seconds']
    cfg = run.cfg
    fixed = dict(key=key(cfg), data=data, seed=seed, epochs=cfg['epochs'], n=len(train), n_test=len(held), bs=cfg['bs'], encoder=cfg['encoder'],
                 protocol=PROTOCOL, split='test images, used for this number only', threads=cfg['threads'], bf16=cfg['bf16'],
                 machine=f'{platform.machine()}, {os.cpu_count()} cores', versions=cfg['versions'], date=time.strftime('%Y-%m-%d'))
    num = lambda r: {k:round(v, 5) if isinstance(v, float) else v for k,v in r.items() if k not in ('name','trivial','n')}
    return [dict(method=r['name'], **num(r), **fixed) for r in rows]

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('data', nargs='+', help='digits, cifar10')
    p.add_argument('--seeds', type=int, nargs='+', default=[0,1,2])
    p.add_argument('--epochs', type=int, help='instead of the default of the data')
    p.add_argument('--to', type=Path, default=ROOT/'results', help='folder of the rows')
    a = p.parse_args()
    from ssl_recipes.app import run as R
    for data in a.data:
        fn = a.to/f'simclr_{data}.jsonl'
        fn.parent.mkdir(exist_ok=True)
        for seed in a.seeds:
            cfg = R.settle(R.config(data=data, seed=seed, epochs=a.epochs), 10**9)
            there = {json.loads(l)['key'] for l in fn.read_text().splitlines()} if fn.exists() else set()
            if key(cfg) in there: print(f'{data}, seed {seed}: is there'); continue
            rows = rows_of(data, seed, a.epochs)
            with open(fn, 'a') as f: f.writelines(json.dumps(r)+'\n' for r in rows)
            print('\n'.join(f"{r['method']:20} kNN {r['knn']:.1%} linear {r['linear']:.1%} {r.get('seconds') or 0:.0f} s" for r in rows), flush=True)

if __name__=='__main__': main()
