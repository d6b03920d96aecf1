"When, in what time and from which code the outputs of each page were made: `results/pages.json`, written by `run_nb.py`; `check_nbs.py` names the pages whose code has changed since"
import ast,fcntl,hashlib,json,os,platform,re,symtable,sys,time
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from nbdev.config import get_config
from cells import directives

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
from ssl_recipes.app.code import bare,code_of,from_us,home,offered,scopes_in # as the lab reads code
from ssl_recipes.app.facts import pages as title_cells
file = root/'results'/'pages.json'
flags = set(get_config().tst_flags.split()) # cells that the default run leaves alone
SLOW = {'slow','net'} # of them, those that run on every machine

def notebooks():
    "All pages, without what is hidden and what nbdev leaves alone"
    return [p for p in sorted((root/'nbs').rglob('*.ipynb')) if not any(o.startswith(('_','.')) for o in p.relative_to(root/'nbs').parts)]

def flagged(src): return flags & set(directives(src)[0])

@lru_cache(maxsize=None)
def brought(module):
    "What `import *` of a module of ours brings: name -> the import that stands there in its stead, or one of the name from us"
    theirs = {a.asname or a.name:ast.unparse(ast.Import([a])) for o in ast.parse(home(module).read_text()).body if isinstance(o, ast.Import) for a in o.names}
    return {k:theirs.get(k, f'from ssl_recipes import {k}') for k in offered(module)}

def spelled_out(src, used):
    "A cell whose `import *` of ours is written as imports of the names that the page uses: a module that offers more changes no page"
    def one(m): return '\n'.join(v for k,v in brought(m[1]).items() if k in used) or 'pass'
    return re.sub(r'^from (ssl_recipes\.[\w.]+) import \*$', one, src, flags=re.M)

def code_cells(nb):
    "Source and kind ('fast' or 'slow') of each code cell of a notebook, as a dictionary; but for cells that show nothing and need what few machines have, such as `cuda`, and those that no run evaluates"
    words = {w for c in nb['cells'] if c['cell_type']=='code' for w in re.findall(r'\w+', ''.join(c['source']))}
    for c in nb['cells']:
        src = spelled_out(''.join(c['source']), words)
        if c['cell_type']=='code' and 'nbdev_export(' not in src and directives(src)[0].get('eval')!='false' and not (flagged(src)-SLOW and not c['outputs']): yield src,'slow' if flagged(src) else 'fast'

def unplaced(o):
    "The code of an import of one name; from which module of ours it comes does not matter: functions move"
    return ast.unparse(ast.ImportFrom('ssl_recipes', o.names, 0) if from_us(o) else o)

def statements(src):
    "The top-level statements of a cell and their code, first an import for each name; comments, docstrings and magics count for nothing"
    src = '\n'.join(l for l in src.splitlines() if not l.lstrip().startswith(('%','!')))
    tree = ast.parse(src)
    lines = bare(src, tree)
    single = lambda o: [ast.ImportFrom(o.module, [a], o.level) if isinstance(o, ast.ImportFrom) else ast.Import([a]) for a in o.names]
    imports = [one for o in tree.body if isinstance(o, (ast.Import,ast.ImportFrom)) for one in single(o)]
    yield from sorted(((o,unplaced(o)) for o in imports), key=lambda o: o[1]) # in whatever order they stand
    yield from ((o,code_of(o, lines)) for o in tree.body if not isinstance(o, (ast.Import,ast.ImportFrom)))

class Scopes(ast.NodeTransformer):
    "Comprehensions as generators, which have a scope of their own in every version of Python"
    def visit_ListComp(self, o):
        self.generic_visit(o)
        return ast.GeneratorExp(o.elt if hasattr(o, 'elt') else ast.Tuple([o.key,o.value], ast.Load()), o.generators)
    visit_SetComp = visit_DictComp = visit_ListComp

def names(node):
    "Global names that a statement binds, those of which it calls a method, and those that it uses"
    top = symtable.symtable(ast.unparse(Scopes().visit(node)), 'cell', 'exec')
    binds = {o.get_name() for o in top.get_symbols() if o.is_assigned() or o.is_imported()}
    uses,roots = {o.get_name() for t in scopes_in(top) for o in t.get_symbols() if o.is_referenced() and (t is top or o.is_global())},set()
    for o in ast.walk(node) if not isinstance(node, (ast.FunctionDef,ast.ClassDef)) else []:
        if isinstance(o, ast.Call) and isinstance(o.func, ast.Attribute) or isinstance(o, (ast.Attribute,ast.Subscript)) and isinstance(o.ctx, ast.Store):
            while isinstance(o, (ast.Call,ast.Attribute,ast.Subscript)): o = o.func if isinstance(o, ast.Call) else o.value
            if isinstance(o, ast.Name): roots.add(o.id)
    return binds,roots,uses

def reached(nb):
    "The statements of a page that its slow cells can reach by name, without comments: what binds a name last, and what changes it since (`learn.fit(2)` changes `learn`)"
    every = [(o,code,kind) for src,kind in code_cells(nb) for o,code in statements(src)]
    of = [names(o) for o,*_ in every]
    imported = set().union(*(binds for (o,*_),(binds,*_) in zip(every, of) if isinstance(o, (ast.Import,ast.ImportFrom))), set())
    keep,todo = set(),[i for i,(*_,kind) in enumerate(every) if kind=='slow']
    while todo:
        i = todo.pop()
        if i in keep: continue
        keep.add(i)
        for nm in of[i][2]:
            before = [j for j in range(i) if nm in of[j][0]]
            last = before[-1] if before else next((j for j in range(i+1, len(of)) if nm in of[j][0]), None) # a function may use what comes later
            if last is None: continue
            todo += [last, *(j for j in range(last+1, i) if nm in of[j][1] and nm not in imported)]
    return [every[i][1] for i in sorted(keep)]

def reads_facts(nb):
    "Whether a page shows what stands in the title cells of others"
    return any('ssl_recipes.app.facts' in src or 'default_exp app.facts' in src for src,_ in code_cells(nb))

def told_by_titles(fn):
    "What a page makes of the title cells of all, or the index of a section of its own: names, options, and the sentences of sections"
    k = key(fn)
    mine = k[:-len('index')] if k.endswith('/index') else ''
    def tells(k, o): return k.endswith('/index') or any(w=='covers' or w.startswith('method ') for w in o['options'])
    return [json.dumps([k,o['title'],o['options'],o['says'] if k.endswith('/index') else ''], sort_keys=True) for k,o in title_cells(root/'nbs').items() if k.startswith(mine) and tells(k, o)]

def sha(lines): return hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:12]

def codes(fn):
    "Hashes of the code that makes the outputs of a notebook: of its fast cells, and of its slow cells with all that they reach on the page"
    nb = json.loads(Path(fn).read_text())
    there = list(code_cells(nb))
    def code(kind): return [code for src,k in there if k==kind for _,code in statements(src)] if kind=='fast' else reached(nb)
    more = dict(fast=told_by_titles(fn) if reads_facts(nb) else [], slow=[])
    return {k:sha(code(k)+more[k]) for k in ('fast','slow') if any(k==o for _,o in there)}

def read(): return json.loads(file.read_text()) if file.exists() else {}
def key(fn): return Path(fn).resolve().relative_to(root/'nbs').with_suffix('').as_posix()

@contextmanager
def locked():
    "One process at a time reads the notes, changes and writes them: several runs may end at once"
    fd = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally: os.close(fd)

def apart(page, seconds):
    "Put measured seconds into the notes of a page. Notes of runs that were not measured apart have those of all cells together, as `all`: what is not quick of it is slow"
    for k,v in seconds.items():
        if k in page: page[k]['seconds'] = max(1, round(v))
    slow,quick = page.get('slow', {}),page.get('fast', {}).get('seconds')
    if 'slow' in seconds: slow.pop('all', None)
    elif quick and 'all' in slow: slow['seconds'] = max(1, slow.pop('all')-quick)

def write(fn, ran, seconds):
    "Note that a notebook has just been run with the flags `ran`, in so many processor seconds for each kind of its cells"
    import torch
    now,cells = codes(fn),code_cells(json.loads(Path(fn).read_text()))
    wanted = set().union(*(flagged(src) for src,_ in cells))
    new = dict(date=time.strftime('%Y-%m-%d'), torch=torch.__version__.split('+')[0], machine=f'{platform.machine()}, {os.cpu_count()} cores')
    kinds = set(now) if wanted<=ran else {'fast'} & set(now)
    with locked():
        old = read()
        page = {k:v for k,v in old.get(key(fn), {}).items() if k in now}
        page |= {k:dict(new, code=now[k]) for k in kinds}
        apart(page, {k:seconds[k] for k in kinds})
        save(old | {key(fn):page})

def time_only(fn, seconds):
    "Note the seconds of the quick cells of a notebook, and nothing else: its outputs stay those of the run before"
    with locked():
        old = read()
        if (page := old.get(key(fn))): apart(page, {'fast':seconds['fast']})
        save(old)

def save(pages):
    "Write all notes; who reads them meanwhile sees the old ones or the new ones, whole"
    pages = {k:pages[k] for k in sorted(pages) if (root/'nbs'/f'{k}.ipynb').exists() and pages[k]}
    part = file.with_suffix(f'.{os.getpid()}')
    part.write_text('{\n'+',\n'.join(f'{json.dumps(k)}: {json.dumps(v, sort_keys=True)}' for k,v in pages.items())+'\n}\n')
    part.replace(file)

def stale(fn, pages):
    "Kinds of cells of a notebook whose outputs are older than its code, or were never noted"
    there = pages.get(key(fn), {})
    return [k for k,code in codes(fn).items() if there.get(k, {}).get('code')!=code]

def long(seconds): return f'{seconds} s' if seconds<100 else f'{seconds/60:.0f} min'

def told(fn, pages):
    "A sentence for readers: how long the cells of a page take, and when and on what its outputs were made"
    there,old = pages.get(key(fn), {}),stale(fn, pages)
    kinds = [(name,there[k],k in old) for k,name in (('fast','Quick cells'),('slow','slow cells')) if k in there]
    if not kinds: return ''
    took = [name+(f" {long(o['seconds'])}" if 'seconds' in o else '') for name,o,_ in kinds]
    made = [f"{o['date']}"+', by code that has changed since'*changed for _,o,changed in kinds]
    if len(set(made))==1: made = made[:1]
    on = next((f", on {o['machine']}, torch {o['torch']}" for _,o,_ in kinds if o.get('torch')), '')
    timed = any('seconds' in o for _,o,_ in kinds)
    if (both := there.get('slow', {}).get('all')): took,timed = [f'Quick and slow cells together {long(both)}'],True
    if timed: return f"{', '.join(took)} of processor time. Outputs made {' and '.join(made)}{on}."
    return f"Outputs made {' and '.join(made)}{on}."
