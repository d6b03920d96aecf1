#!/usr/bin/env python
"What a GPU may change and what it must not: six parts, each in a process of its own with a time limit; prints a table and writes JSON"
import argparse,json,math,os,platform,re,shutil,subprocess,sys,tempfile,time
from functools import partial
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
LIMITS = dict(cells=120, steps=150, bf16=90, bench=110, resume=70, simclr=240) # Part -> most seconds that it may take
TOTAL = 480 # Of all parts; the last one trains for what is left
CELLS = ("'cuda'","'cpu'"),('.cuda()','.cpu()'),('torch.cuda.is_available()','True') # What a cell for GPUs says on a CPU

def images(n, split='train', seed=0):
    "Scenes in colours, so that each transform of the views has something to do"
    from ssl_recipes.core.scenes import digit_scenes
    return digit_scenes(n, split, seed, colour='random', clutter=(0,2))

def learner(name, train, dev, bf16=False, cbs=()):
    "The learner of a method with what it takes for photographs, but its paper's views, on three small batches; slow, so that rounding does not grow"
    from ssl_recipes.app.build import make_learner,settle
    from ssl_recipes.app.methods import learns_from
    from ssl_recipes.app.settings import config
    from ssl_recipes.core.clips import digit_clips
    bs,data = len(train)//3,(learns_from(name) or ['cifar10'])[0]
    if data=='clips': train = digit_clips(len(train)).frame(0)
    few = dict(wmse=dict(d_out=bs//2), nnclr=dict(queue=bs)) # so many images can whiten so many dimensions; few neighbours are seldom equally near
    cfg = config(method=name, data=data, bs=bs, epochs=1, device=str(dev), bf16=bf16, set=few.get(name, {}))
    cfg |= dict(lr=cfg['lr']/10, views={} if 'name' in cfg['views'] else cfg['views'])
    return make_learner(settle(cfg, len(train), quiet), train, cbs)

def quiet(*_): pass

def run(name, train, dev, bf16=False, seed=0):
    "Three optimiser steps: `losses`, `types` of them and of what the model returned, and, on the CPU in float64, the first `views` and the `state` of the model"
    from fastai.callback.core import Callback
    from ssl_recipes.core.base import seeded
    out,far = dict(losses=[], types=set()),lambda d: {k:v.detach().cpu().double() for k,v in d.items()}
    floats = lambda x: [x] if hasattr(x, 'is_floating_point') and x.is_floating_point() else [o for y in x for o in floats(y)] if isinstance(x, (tuple,list)) else []
    def note(cb):
        out['losses'].append(cb.loss.item())
        out['types'] |= {str(o.dtype).removeprefix('torch.') for o in [cb.loss, *floats(cb.pred)]}
    learn = learner(name, train, dev, bf16, [Callback(after_loss=note)])
    with seeded(seed), learn.no_bar(), learn.no_logging(): # whatever draws from torch's generators would get other numbers on another device
        out['views'] = far({str(i):v for i,v in enumerate(learn.apply_views.views(*learn.dls.train.one_batch(), 0))})
        learn.fit(1)
    return out|dict(state=far(learn.model.state_dict()))

def each(f):
    "`f(name)` for every method: what it measured, by name, and its faults; one that breaks does not stop the others"
    from ssl_recipes.app.methods import methods
    out,faults = {},[]
    for name in methods():
        try: out[name],fault = f(name)
        except Exception as e: fault = f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"
        if fault: faults.append(f'{name}: {fault}')
    return out,faults

def top(out, k): return max((o[k] for o in out.values()), default=math.nan)

def off(a, b): return ((a-b).norm()/b.norm().clamp_min(1e-6)).item()

# --- The parts: each returns a line, what it measured, and a list of faults

def cells(dev, small, seconds):
    "The cells that only a GPU runs, after the quick cells above them; on a CPU the same cells, with `cpu` for `cuda`"
    import stamps
    from execnb.nbio import read_nb
    from execnb.shell import CaptureShell
    from run_nb import skipper
    out,faults = {},[]
    for fn in stamps.notebooks():
        nb,t = read_nb(fn),time.perf_counter()
        mine = [c for c in nb.cells if c.cell_type=='code' and 'cuda' in stamps.flagged(c.source)]
        if not mine: continue
        for c in mine:
            for a,b in CELLS if dev.type=='cpu' else (): c.source = c.source.replace(a, b)
        nb.cells = nb.cells[:nb.cells.index(mine[-1])+1]
        os.chdir(fn.parent)
        shell = CaptureShell(fn.name)
        try: shell.run_all(nb, exc_stop=True, preproc=skipper(stamps.flags-{'cuda'}))
        except BaseException as e: faults.append(f"{fn.stem}: {type(e).__name__}: {' '.join(str(e).split())[:200]}")
        out[fn.stem] = dict(cells=len(mine), seconds=time.perf_counter()-t)
    return f'{len(out)} pages',out,faults or ['no page has such a cell']*(not out)

def steps(dev, small, seconds):
    "Three float32 steps of every method on the device and on the CPU: the same views, losses and weights, but for rounding"
    import torch
    train = images(96 if small else 192)
    # Weights and views of the first step are the same, so its loss is, to 1e-4 (views: to 1e-4 of the range of a pixel); half precision is off by 1e-3, other
    # random numbers by 1e-1. Later, batch norm blows up what rounding does. That is measured, not guessed: four times as much as the CPU's two sets of kernels differ
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    other = partial(torch.backends.mkldnn.flags, enabled=False)
    def f(name):
        cpu = run(name, train, 'cpu')
        with other(): again = run(name, train, 'cpu')
        with other(): got = run(name, train, dev, seed=1)
        views = max((got['views'][k]-v).abs().max().item() for k,v in cpu['views'].items())
        loss = max(abs(a-b)/(1e-4*max(abs(b), 0.1)+4*abs(b-c)*(i>0)) for i,(a,b,c) in enumerate(zip(got['losses'], cpu['losses'], again['losses'])))
        worst = {k:off(got['state'][k], v)/(1e-4+4*off(again['state'][k], v)) for k,v in cpu['state'].items()}
        k = max(worst, key=worst.get)
        fault = (f'views differ by {views:.1e}' if not views<=1e-4 else f"losses {got['losses']} instead of {cpu['losses']}" if not loss<=1 else
                 f"'{k}' is {off(got['state'][k], cpu['state'][k]):.1e} off after three steps" if not worst[k]<=1 else '')
        return dict(views=views, loss=loss, weights=worst[k], worst=k),fault
    out,faults = each(f)
    return f"{len(out)} methods; {top(out, 'loss'):.2f} (loss) and {top(out, 'weights'):.2f} (weights) of what is allowed, views {top(out, 'views'):.0e}",out,faults

def bf16(dev, small, seconds):
    "The same steps in bfloat16: what leaves the model and what the losses make of it is float32, and the first loss is within 5% of that of float32"
    import torch
    from ssl_recipes.core.train import bf16_helps,to_float32
    if not bf16_helps(dev) and not small: return 'no native bfloat16 here: left out',{},[]
    train = images(96 if small else 192)
    tree = lambda f,x: f(x) if torch.is_tensor(x) and x.is_floating_point() else tuple(tree(f, o) for o in x) if isinstance(x, (tuple,list)) else x
    def f(name):
        full,got = (run(name, train, dev, o) for o in (False,True))
        learn = learner(name, train, dev)
        model,(x,idx) = learn.model.to(dev).eval(),learn.dls.train.one_batch() # in evaluation mode nothing is stashed
        with torch.no_grad():
            outs = tree(torch.Tensor.bfloat16, model(*learn.apply_views.views(x, idx, 0)))
            with torch.autocast(dev.type, torch.bfloat16): low = model.loss(outs, idx)
            high = model.loss(to_float32(outs), idx).item()
            exact = model.double().loss(tree(torch.Tensor.double, outs), idx).item()
        (a,*_),(b,*more),types = full['losses'],got['losses'],got['types']|{str(low.dtype).removeprefix('torch.')}
        far,gap,lost = (abs(u-v)/max(abs(v), 0.1) for u,v in ((b,a),(low.item(),high),(high,exact)))
        fault = (f'losses {b, *more}' if not all(map(math.isfinite, (b,*more))) else f"{', '.join(sorted(types))} where only float32 is due" if types!={'float32'} else
                 f'the loss of half-precision outputs is {low:.6g}, of the same in float32 {high:.6g}' if gap>1e-6 else
                 f'the loss in float32 is {high:.8g}, in float64 {exact:.8g}' if lost>1e-5 else f'first loss {b:.5g} instead of {a:.5g}' if far>0.05 else '')
        return dict(float32=a, bfloat16=b, far=far, island=gap, lost=lost),fault
    out,faults = each(f)
    return f"{len(out)} methods; first loss off by {top(out, 'far'):.1%} at most",out,faults

def bench(dev, small, seconds):
    "Share of the roof, share of the views and memory of SimCLR with two encoders at 224 pixels; told, not judged: times belong to a machine"
    import torch
    from ssl_recipes.app.bench import loop_ratio,now
    from ssl_recipes.app.build import load_data,make_learner,settle
    from ssl_recipes.core.base import PeakMemory
    from ssl_recipes.app.settings import config
    big,out = not small and torch.cuda.get_device_properties(dev).total_memory>40e9,{}
    for enc in ('small_resnet','small_vit') if small else ('resnet50','vit_small_patch16_224'):
        sz,bs = (32,32) if small else (224,256 if big else 32)
        cfg = config(method='simclr', data='digits', encoder=enc, size=sz, crop=sz, bs=bs, n=2*bs, n_test=2, device=str(dev), views=dict(name='simclr', strength=0.5, min_scale=0.2))
        train,_ = load_data(cfg, quiet)
        cfg,memory = settle(cfg, len(train)),PeakMemory()
        r = loop_ratio(cfg, train, 2 if small else 3, 3 if small else 20)
        learn = make_learner(cfg, train)
        (x,idx),views,took = learn.dls.train.one_batch(),learn.apply_views.views,[]
        for e in range(4):
            t = now(dev)
            views(x, idx, e)
            took.append(now(dev)-t)
        out[enc] = dict(images_per_second=r['ours'], roof=r['theirs'], share_of_roof=r['ratio'], views_share=min(took)*r['ours']/bs, memory_mb=memory(), bs=bs, bf16=cfg['bf16'])
    line = lambda k,o: f"{k} {o['images_per_second']:.0f} images/s, {o['share_of_roof']:.0%} of the roof, views {o['views_share']:.0%}, {o['memory_mb'] or 0:.0f} MB"
    return '; '.join(line(*o) for o in out.items()),out,[]

def resume(dev, small, seconds):
    "A run that goes on from its first checkpoint in a new process ends as the one that was not stopped: bit for bit on a CPU, losses to 1e-3 on a GPU, whose sums have no fixed order"
    from ssl_recipes.core.checkpoint import checkpoints,latest
    from safetensors.torch import load_file
    out,faults = {},[]
    def job(verb, *args, **kw): subprocess.run([sys.executable,'-c', f'from ssl_recipes.app.run import {verb}; {verb}(*{args}, report=False, bar=False, **{kw})'],
        check=True, cwd=root, stdout=subprocess.DEVNULL)
    for name in ('moco',) if small else ('moco','ibot'):
        with tempfile.TemporaryDirectory() as d:
            whole,rest = Path(d)/'whole',Path(d)/'rest'
            job('train', str(whole), method=name, n=256, n_test=2, bs=32, epochs=2, every=11, device=str(dev), bf16=False) # in the midst of the second epoch
            shutil.copytree(whole, rest)
            latest(rest).unlink()
            job('resume', str(rest))
            losses = [[r['loss'] for r in map(json.loads, (o/'metrics.jsonl').read_text().splitlines())] for o in (whole,rest)]
            a,b = (load_file(latest(o)) for o in (whole,rest))
            equal,gap = all((a[k]==b[k]).all() for k in a),abs(losses[0][-1]/losses[1][-1]-1)
            out[name] = dict(whole=losses[0][-1], resumed=losses[1][-1], bit_equal=equal, from_step=int(checkpoints(whole)[0].stem.split('-')[1]))
            if gap>1e-3 or not equal and dev.type=='cpu': faults.append(f"{name}: {out[name]}")
    return '; '.join(f"{k} {o['resumed']:.6g}, {'bit for bit' if o['bit_equal'] else 'not bit for bit'}" for k,o in out.items()),out,faults

def simclr(dev, small, seconds):
    "SimCLR on CIFAR-10 (or on digit scenes, where that is not) for as long as there is time: its nearest neighbours beside raw pixels and an untrained encoder"
    import torch
    from fastai.data.external import URLs,fastai_path
    from ssl_recipes.app.bench import now
    from ssl_recipes.app.build import load_data,make_encoder,make_learner,settle
    from ssl_recipes.app.settings import config
    from ssl_recipes.core.base import seeded
    from ssl_recipes.evaluation.judge import judge
    begin = time.perf_counter()
    there = any((fastai_path(k)/f).exists() for k,f in (('data','cifar10'),('archive','cifar10.tgz')))
    data,enc = 'cifar10' if there and not small else 'digits','small_resnet' if small else 'resnet18'
    more = dict(n=50000, bs=512, lr=1., size=32) if data=='cifar10' else {}
    cfg = config(method='simclr', data=data, encoder=enc, device=str(dev), **more)
    train,_ = load_data(cfg, quiet)
    cfg = settle(cfg, len(train))
    def fit(data, epochs):
        learn,t = make_learner(cfg|dict(epochs=epochs), data),now(dev)
        with seeded(0), learn.no_bar(), learn.no_logging(): learn.fit(epochs)
        return learn,now(dev)-t
    few = train.subset(range(min(len(train), 8*cfg['bs'])))
    took = min(fit(few, 1)[1] for _ in range(2)) # the first one warms up
    learn,took = fit(train, 3 if small else max(2, int(min(180, seconds-50-(time.perf_counter()-begin))*len(few)/len(train)/took)))
    bank,held = load_data(config(data=data), quiet)
    rows = {k:judge(e, bank, held, linear=False, sz=e and e.sz)['knn'] for k,e in (('raw pixels',None),('random encoder',make_encoder(cfg, train).to(dev)),('simclr',learn.model.encoder))}
    losses = [float(o) for o in learn.recorder.losses]
    out = dict(data=data, encoder=enc, epochs=learn.n_epoch, training_seconds=took, images_per_second=len(train)*learn.n_epoch/took, losses=losses[::max(1, len(losses)//20)], knn=rows)
    best,fell = max(rows['raw pixels'], rows['random encoder']),sum(losses[-10:])<sum(losses[:10]) # so few epochs as in small teach nothing that neighbours see
    line = f"{enc} on {data}, {learn.n_epoch} epochs in {took:.0f} s, loss {losses[0]:.2f} to {losses[-1]:.2f}; kNN: "+', '.join(f'{k} {v:.1%}' for k,v in rows.items())
    return line,out,[f'the loss does not fall: {line}']*(not fell) + [f'not 5 points above the others: {line}']*(fell and not small and not rows['simclr']>best+0.05)

PARTS = dict(cells=cells, steps=steps, bf16=bf16, bench=bench, resume=resume, simclr=simclr)

def carry_out(name, device, seconds):
    "One part in a process of its own: a line, what it measured, its faults, its seconds"
    t,found = time.perf_counter(),dict(line='', measured={})
    with tempfile.TemporaryDirectory() as d:
        to,env = Path(d)/'part.json',os.environ|dict(MPLBACKEND='Agg', PYTHONWARNINGS='ignore')
        try:
            r = subprocess.run([sys.executable, __file__, '--device', device, '--part', name, str(seconds), str(to)], env=env, capture_output=True, text=True, timeout=seconds)
            found |= json.loads(to.read_text()) if to.exists() else dict(faults=[(r.stderr.strip().splitlines() or [f'stopped with code {r.returncode}'])[-1][:300]])
        except subprocess.TimeoutExpired: found['faults'] = [f'not done after {seconds:.0f} s']
    return found|dict(seconds=round(time.perf_counter()-t, 1))

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--device', help='cuda (default), cuda:1, ...; cpu: everything in small, to try this script')
    p.add_argument('--only', default=','.join(PARTS), help=f"parts, with commas between: {', '.join(PARTS)}")
    p.add_argument('--out', type=Path, help='file for the JSON; default: results/gpu/<device name>.json, and none for cpu')
    p.add_argument('--part', nargs=3, help=argparse.SUPPRESS)
    a = p.parse_args()
    device = a.device or 'cuda'
    import torch
    if a.part:
        name,seconds,to = a.part
        return Path(to).write_text(json.dumps(dict(zip(('line','measured','faults'), PARTS[name](torch.device(device), device=='cpu', float(seconds)))))) and 0
    names = [o for o in a.only.split(',') if o]
    if odd := [o for o in names if o not in PARTS] or [o for o in ['nothing'] if not names]: p.error(f"no part '{odd[0]}'; possible: {', '.join(PARTS)}")
    if device!='cpu' and not re.fullmatch(r'cuda(:\d+)?', device): p.error(f"device '{device}'; possible: cuda, cuda:1, cpu")
    if device!='cpu' and not torch.cuda.is_available(): p.error('no GPU is usable here; --device cpu tries the script in small')
    gpu = None if device=='cpu' else torch.cuda.get_device_name(device)
    begin,parts,more = time.perf_counter(),{},1 if gpu else 4 # a processor may have other work, too
    for k in names:
        left = more*TOTAL-(time.perf_counter()-begin)
        parts[k] = carry_out(k, device, min(more*LIMITS[k], left)) if left>5 else dict(faults=['no time left'], seconds=0)
        print(f"{k:8}{parts[k]['seconds']:>6.0f} s  {'ok    ' if not parts[k]['faults'] else 'FAILED'}  {(parts[k]['faults'] or [parts[k]['line']])[0]}", flush=True)
        for o in parts[k]['faults'][1:]: print(f"{'':26}{o}")
    res = dict(device=gpu or 'cpu', machine=f'{platform.machine()}, {os.cpu_count()} cores', torch=torch.__version__, cuda=torch.version.cuda, python=platform.python_version(),
               date=time.strftime('%Y-%m-%d'), seconds=round(time.perf_counter()-begin), parts=parts)
    if to := a.out or (root/'results'/'gpu'/f"{re.sub('[^A-Za-z0-9]+', '-', gpu).strip('-').lower()}.json" if gpu else None):
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(json.dumps(res, indent=1)+'\n')
        print(to)
    return 1 if any(o['faults'] for o in parts.values()) else 0

if __name__=='__main__': sys.exit(main())
