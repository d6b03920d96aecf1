#!/usr/bin/env python
"Test pages as nbdev_test does: all, those that a change can have reached, or one of several equal shares"
import argparse,ast,json,os,re,subprocess,sys,tarfile,tempfile
from io import BytesIO
from pathlib import Path

import stamps
from cells import load
from ssl_recipes.app import code

root = stamps.root
whole = {'settings.ini','setup.py','pyproject.toml','MANIFEST.in'} # what decides which packages there are: changed, everything is tested

def git(*words, **kw): return subprocess.run(['git',*words], cwd=root, check=True, capture_output=True, **kw).stdout

def tree_of(cell):
    try: return ast.parse('\n'.join(l for l in cell['code'].splitlines() if not l.lstrip().startswith(('%','!'))))
    except SyntaxError: return ast.parse('')

def roots(cells, index):
    "What the code of a page uses from the package: names it imports, and learners of the methods that it names in quotes, which are found in the index"
    trees = [tree_of(c) for c in cells if c['cell_type']=='code']
    said = {w for t in trees for o in ast.walk(t) if isinstance(o, ast.Constant) and isinstance(o.value, str) for w in o.value.split()}
    out = {at for t in trees for at in code.imported('page', t).values()}
    for m,sym in list(out):
        if sym is None: out |= {(m,nm) for nm in code._parsed(m, os.stat(code.home(m)).st_mtime_ns)[0]}
    app = any(m.startswith('ssl_recipes.app') for m,_ in out)
    return sorted({(m,s) for m,s in out if s}|{(m,f'{o}_learner') for o,m in index.items() if app and o in said|{'simclr'}})

def seen(top):
    "Of each page below a folder, a hash of its own code, of the title cells where it reads those, and of all that it reaches in the package"
    code.ROOT = top/'ssl_recipes'
    code._parsed.cache_clear()
    index = {m[1]:f"ssl_recipes.{'.'.join(fn.relative_to(code.ROOT).with_suffix('').parts)}" for fn in code.ROOT.rglob('*.py') for m in re.finditer(r'^def (\w+)_learner\(', fn.read_text(), re.M)}
    fns = [p for p in sorted((top/'nbs').rglob('*.ipynb')) if not any(o.startswith(('_','.')) for o in p.relative_to(top).parts)]
    titles = [load(fn)[0]['source'] for fn in fns]
    out = {}
    for fn in fns:
        cells = load(fn)
        own = [ast.unparse(tree_of(c)) for c in cells if c['cell_type']=='code']
        named = roots(cells, index)
        facts = titles if any(m=='ssl_recipes.app.facts' for m,_ in named) else []
        out[fn.relative_to(top).as_posix()] = code.sha([own,facts,sorted({o for lines in code.reached(named).values() for o in lines})])
    return out

def affected(base):
    "Pages that tell something else than at a commit: their own code, what it reaches in the package, or a file that it names has changed"
    base = git('merge-base', base, 'HEAD', text=True).strip()
    changed = set(git('diff', '--name-only', base, text=True).split())|set(git('ls-files', '--others', '--exclude-standard', text=True).split())
    with tempfile.TemporaryDirectory() as d:
        tarfile.open(fileobj=BytesIO(git('archive', base, 'nbs', 'ssl_recipes'))).extractall(d, **(dict(filter='data') if hasattr(tarfile, 'data_filter') else {}))
        was,now = seen(Path(d)),seen(root)
    if whole & changed: return sorted(now)
    files = {Path(o).name for o in changed if not o.endswith(('.ipynb','.py'))}
    def names(fn): return any(o in c['source'] for c in load(root/fn) if c['cell_type']=='code' for o in files)
    return [fn for fn in sorted(now) if now[fn]!=was.get(fn) or names(fn)]

def share(fns, k, n):
    "The k-th of n shares that take about the same time, as far as pages were timed"
    took,pages = [0]*n,stamps.read()
    seconds = {fn:pages.get(stamps.key(root/fn), {}).get('fast', {}).get('seconds', 10) for fn in fns}
    out = []
    for fn in sorted(fns, key=lambda o: (-seconds[o],o)):
        i = took.index(min(took))
        took[i] += seconds[fn]+5 # to import torch
        if i==k-1: out.append(fn)
    return sorted(out)

def test(fns, workers):
    "Run them in several processes; names of those that failed"
    from fastcore.parallel import parallel
    from nbdev.config import get_config
    from nbdev.test import test_nb
    skip,cfg = get_config().tst_flags.split(),get_config()
    os.chdir(cfg.nbs_path)
    done = parallel(test_nb, [root/fn for fn in fns], skip_flags=skip, do_print=True, basepath=cfg.config_path, n_workers=workers, pause=0.01)
    return [fn for fn,(passed,_) in zip(fns, done) if not passed]

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--base', help='only pages that the changes since this commit can have reached, such as origin/main')
    p.add_argument('--shard', help='2/4: the second of four shares')
    p.add_argument('--list', action='store_true', help='only say which')
    p.add_argument('--workers', type=int, default=min(os.cpu_count(), 8))
    a = p.parse_args()
    fns = affected(a.base) if a.base else [fn.relative_to(root).as_posix() for fn in stamps.notebooks()]
    if a.shard: fns = share(fns, *map(int, a.shard.split('/')))
    print('\n'.join(fns), f'{len(fns)} pages', sep='\n', flush=True)
    if a.list or not fns: return
    failed = test(fns, a.workers if len(fns)>1 else 0)
    if failed: sys.exit('failed:\n'+'\n'.join(failed))

if __name__=='__main__': main()
