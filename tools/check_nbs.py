#!/usr/bin/env python
"Check every notebook against the house rules (CONTRIBUTING.md), and the package against the notebooks; name the notebook and the cell"
import argparse,ast,csv,io,json,re,tokenize
from collections import Counter
from pathlib import Path
import yaml
from latex2mathml.converter import convert
import new,same_cells,stamps
from cells import headings,load,prose_words
from ssl_recipes.app import facts
from ssl_recipes.app.code import home,imported

root = Path(__file__).resolve().parent.parent
nbs,lib = root/'nbs','ssl_recipes'
max_lines,max_words,max_seconds = 40,120,45 # of processor time, that of processes which a page starts included: less than 30 s on two cores
recipes = dict.fromkeys(['origins','contrastive','self_distillation','cca','mim'], 2)
rank = {'core':0, 'evaluation':1, **recipes, 'theory':3, 'tricks':3, 'acceleration':3, 'beyond':3, 'app':4}
with_methods = {*recipes,'theory','beyond'} # sections whose `<method>_learner` is a method, as in `app.methods`
limits = dict(cells=60, words=1300) # of a page; a page on several methods may have
family_words = 1800
longer = Path(__file__).with_name('longer.json') # pages that were above the limits when these came, with their lengths: they may only shrink
proofs = {'definition','processes','resume','life'}
machine = re.compile(r'(?<![\w.~])/(?:root|home|Users|work|mnt|media)/\w+|site-packages/')
watched = {'core.proofs': 'torch.distributed'} # which looks for calls of collectives and makes none
problems = []

def report(fn, msg, cell=None):
    where = '' if cell is None else f" cell {cell['n']} ({cell.get('id') or 'no id'})"
    problems.append(f'{fn.relative_to(root)}{where}: {msg}')

def bare(part): return re.sub(r'^\d+[a-zA-Z0-9]*_', '', part)

def comments(src):
    "Line numbers that end in a comment, and those that hold nothing else"
    toks = [t for t in tokenize.generate_tokens(io.StringIO(src).readline) if t.type==tokenize.COMMENT]
    return {t.start[0] for t in toks},{t.start[0] for t in toks if not t.line[:t.start[1]].strip()}

def own(node):
    "The nodes of a function's body without those of functions inside it"
    for o in ast.iter_child_nodes(node):
        yield o
        if not isinstance(o, (ast.FunctionDef,ast.AsyncFunctionDef,ast.ClassDef,ast.Lambda)): yield from own(o)

def undocumented(f, src, need_return=True):
    "The parameters of `f` without a docment, and 'return' if it gives something back and does not say what"
    ends,alone = comments(src)
    a = f.args
    args = a.posonlyargs+a.args+a.kwonlyargs
    defaults = [None]*(len(a.posonlyargs+a.args)-len(a.defaults))+a.defaults+a.kw_defaults
    lines = [(o.arg, o.lineno, (d or o).end_lineno) for o,d in zip(args, defaults)]
    last = {end:nm for nm,_,end in lines} # a comment belongs to the last parameter on its line
    bad = [nm for nm,start,end in lines if nm not in ('self','cls') and not (end in ends and last[end]==nm or start-1 in alone)]
    gives = any(isinstance(o, (ast.Yield,ast.YieldFrom)) or isinstance(o, ast.Return) and o.value is not None for o in own(f))
    if need_return and gives:
        sig_end = f.returns.end_lineno if f.returns else max([f.lineno, *[e for _,_,e in lines]])
        if not any(i in ends and i not in last for i in range(sig_end, f.body[0].lineno)): bad.append('return')
    return bad

def unreadable(text):
    "Formulas of a markdown cell in which something is left that MathML has no word for"
    found = [a or b for a,b in re.findall(r'\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)\$', re.sub(r'```.*?```|`[^`]*`', '', text, flags=re.S), flags=re.S)]
    return [tex for tex in found if '\\' in re.sub(r'<[^>]+>', '', convert(tex))]

def symbols(tree):
    "Public functions and classes of a cell, and patched methods, as `(name, node)`"
    for o in tree.body:
        if isinstance(o, (ast.FunctionDef,ast.AsyncFunctionDef,ast.ClassDef)) and not o.name.startswith('_'): yield o.name,o

def check_symbols(fn, c, later):
    try: tree = ast.parse(c['code'], feature_version=(3,10))
    except SyntaxError as e: return report(fn, f'does not parse as Python 3.10: {e}', c)
    for nm,o in symbols(tree):
        if not ast.get_docstring(o): report(fn, f'`{nm}` has no docstring', c)
        is_class = isinstance(o, ast.ClassDef)
        f = next((m for m in o.body if isinstance(m, ast.FunctionDef) and m.name=='__init__'), None) if is_class else o
        bad = undocumented(f, c['code'], need_return=not is_class) if f else []
        if bad: report(fn, f"`{nm}` has no docment for: {', '.join(bad)}", c)
        if 'exporti' not in c['dirs'] and not re.search(rf'\b{nm}\b', later): report(fn, f'`{nm}` is not used in any later cell: no test, no demonstration', c)

def parsed(c):
    "The code of a cell, without magics; nothing if it does not parse"
    try: return ast.parse('\n'.join(l for l in c['code'].splitlines() if not l.lstrip().startswith(('%','!'))))
    except SyntaxError: return ast.parse('')

def ours(tree):
    "The modules of the package that code imports, each with the section it stands in"
    for o in ast.walk(tree):
        if not isinstance(o, (ast.Import,ast.ImportFrom)): continue
        mods = [o.module or ''] if isinstance(o, ast.ImportFrom) else [a.name for a in o.names]
        if isinstance(o, ast.ImportFrom) and o.module==lib: mods = [f'{lib}.{a.name}' for a in o.names]
        yield from ((m,m.split('.')[1]) for m in mods if m.startswith(f'{lib}.') and not m.split('.')[1].startswith('_')) # `_modidx`, `__version__`

def check_imports(fn, c, section):
    for o in ast.walk(ast.parse(c['code'])):
        if isinstance(o, ast.ImportFrom) and o.names[0].name=='*': report(fn, f'exported code imports * from {o.module}', c)
        if isinstance(o, ast.ImportFrom) and o.level: report(fn, 'a relative import: write it from the package down', c)
    for m,of in ours(ast.parse(c['code'])):
        if of not in rank: report(fn, f'imports {m}: no such section', c)
        elif of!=section and rank[of]>=rank[section]: report(fn, f'{section} must not import {m} (core <- evaluation <- recipes <- theory, tricks, ... <- app)', c)

def check_shown(fn, c, section):
    "What a page only shows may use `app` (core in slow cells) and recipes (core never), but nothing that comes later in the book"
    most = 1 if section=='core' else max(2, rank.get(section, 4))
    for m,of in ours(parsed(c)):
        if of not in rank: report(fn, f'imports {m}: no such section', c)
        elif of=='app' and (section!='core' or stamps.flagged(c['source'])): continue
        elif of!=section and rank[of]>most: report(fn, f'a page of {section} shows {m}, which comes later: only app may be used before its time', c)

def check_collectives(fn, c, module):
    "Processes talk to each other in one place: elsewhere a collective would carry no gradient, and nobody would notice"
    if module=='core.distrib': return
    for o in ast.walk(ast.parse(c['code'])):
        names = [a.name for a in o.names] if isinstance(o, ast.Import) else [f'{o.module}.{a.name}' for a in o.names] if isinstance(o, ast.ImportFrom) else []
        if isinstance(o, ast.Attribute): names = [ast.unparse(o)]
        for nm in names:
            if nm.startswith('torch.distributed') and nm!=watched.get(module): report(fn, f'uses {nm}: collectives belong to core.distrib', c)

def check_mixed(fn, c):
    "nbdev runs each cell with an import when it makes the site, and none of the cells between, so such a cell must stand alone"
    tree = parsed(c)
    imports = [isinstance(o, (ast.Import,ast.ImportFrom)) for o in ast.walk(tree)]
    if any(imports) and not all(isinstance(o, (ast.Import,ast.ImportFrom)) for o in tree.body):
        report(fn, 'mixes imports with other code: the imports need a cell of their own', c)

def check_cell(fn, c):
    if not c.get('id'): report(fn, 'has no id: run nbdev_clean', c)
    if c['cell_type']=='markdown':
        if (n := prose_words(c['source']))>max_words: report(fn, f'{n} words, limit {max_words}', c)
        for tex in unreadable(c['source']): report(fn, f'the site cannot show this formula, write it in plainer TeX: {tex}', c)
    shown = json.dumps([o for o in c.get('outputs', [])])
    if '"output_type": "error"' in shown: report(fn, 'a stored output is an error', c)
    text = c['source']+json.dumps([o.get('text') or {k:v for k,v in o.get('data', {}).items() if k.startswith('text/')} for o in c.get('outputs', [])])
    if m := machine.search(text): report(fn, f'a path of one machine: {m[0]}', c)
    if c['cell_type']=='code' and re.search(r'^#\|', c['code'], flags=re.M): report(fn, 'a directive after the first line of code is ignored', c)
    n = len(c['code'].splitlines())
    if c['exports'] and n>max_lines: report(fn, f'{n} exported lines, limit {max_lines}', c)

def learners(cells):
    "Names of the methods whose learner a page exports"
    return [nm.removesuffix('_learner') for c in cells if c['exports'] for nm,o in symbols(parsed(c)) if nm.endswith('_learner') and isinstance(o, ast.FunctionDef)]

def calls(cells):
    "Names that the cells of a page which are not exported call, or hand on to be called"
    return {o.id for c in cells if c['cell_type']=='code' and not c['exports'] for o in ast.walk(parsed(c)) if isinstance(o, ast.Name)}

def check_recipe(fn, cells, methods):
    "A page with a method proves it, says what every such page says, and sets what can be read without importing it"
    done = calls(cells)
    need = proofs | ({'teacher'} if any(re.search(r'\b(EMATeacher|ema_copy|Teacher)\b', c['code']) for c in cells if c['exports']) else set())
    if 'prove' in done: need = {'definition'} # `app.prove` has all the others
    if lack := sorted(o for o in need if f'prove_{o}' not in done): report(fn, f"does not prove {', '.join(methods)}: calls no prove_{', no prove_'.join(lack)}")
    there = headings(cells)
    at = [next((i for i,h in enumerate(there) if re.match(o, h)), None) for o in new.headings]
    for o in (o for o,i in zip(new.headings, at) if i is None): report(fn, f"has no heading like '{re.sub(r'[(|].*', '', o)}...'")
    if (found := [i for i in at if i is not None])!=sorted(found): report(fn, f"its headings stand in another order than {', '.join(new.headings)}")
    said = {}
    for c in cells:
        for o in parsed(c).body if c['exports'] else ():
            name = getattr(o.targets[0], 'id', '') if isinstance(o, ast.Assign) else ''
            if name not in ('SETTINGS','SMALLEST'): continue
            try: said[name] = ast.literal_eval(o.value)
            except ValueError: report(fn, f'`{name}` is not written out: it is read without being executed', c)
            else:
                if not (isinstance(said[name], dict) and all(isinstance(v, dict) for v in said[name].values())): report(fn, f'`{name}` is not a dictionary of dictionaries', c)
    if 'prove' in done and (lack := sorted(set(methods)-set(said.get('SMALLEST', {})))): report(fn, f"does not say in `SMALLEST` in which form {', '.join(lack)} can be proved")

def check_facts(fn, methods, systems):
    "What the title cell says of methods and systems can be read, belongs to what the page exports, and lacks nothing"
    options = facts.title_cell(fn)['options']
    try: yaml.safe_load('\n'.join(f'{k}: {v}' for k,v in options.items()))
    except yaml.YAMLError as e: return report(fn, f"its options are no YAML (a colon within, or a sign at the start?): {str(e).splitlines()[0]}")
    if unknown := [i for i in options.get('covers', '').split() if i not in systems]: report(fn, f"covers {', '.join(unknown)}, which nbs/12_guide/systems.csv does not list")
    columns = facts.columns_of(fn.parent.name, nbs)
    try: found = facts.on_page(fn, columns)
    except facts.BadInput as e: return report(fn, str(e))
    if lack := sorted(set(methods)-set(found)): report(fn, f"exports {', '.join(lack)} without its facts: a line `- method {lack[0]}: Name, arXiv 2002.05709` in the title cell")
    if more := sorted(set(found)-set(methods)): report(fn, f"tells facts of {', '.join(more)}, of which it exports no learner")
    for k,o in found.items():
        if lack := [c for c in columns if c not in o.columns]: report(fn, f"does not say of {k} what its row in the section's table says: {', '.join(lack)}")

def check_length(fn, cells, methods, listed):
    "A page keeps to the limits, or to its length when these came"
    now = dict(cells=len(cells), words=sum(prose_words(c['source']) for c in cells if c['cell_type']=='markdown'))
    most = limits | (dict(words=family_words) if len(methods)>1 else {})
    was = listed.get(stamps.key(fn), {})
    for k,v in now.items():
        if v>max(most[k], was.get(k, 0)): report(fn, f"{v} {k}, limit {max(most[k], was.get(k, 0))}{': it may only shrink' if k in was else ''}")
    return {k:min(v, was[k]) for k,v in now.items() if k in was and v>most[k]}

def check_nb(fn, modules, listed, kept, systems):
    cells = load(fn)
    if odd := json.loads(fn.read_text()).keys()-{'cells','metadata','nbformat','nbformat_minor'}: report(fn, f"holds {', '.join(sorted(odd))}, which no notebook has")
    methods = learners(cells) if bare(fn.parent.name) in with_methods else []
    if length := check_length(fn, cells, methods, listed): kept[stamps.key(fn)] = length
    if methods: check_recipe(fn, cells, methods)
    check_facts(fn, methods, systems)
    for c in cells:
        for said in re.findall(rf'[^:|>\n]*[:|>]? ?{new.wait}[^|.:\n]*', c['source']): report(fn, f"'{said.strip()}' still waits for its author", c)
    code = [c for c in cells if c['cell_type']=='code']
    for c in cells: check_cell(fn, c)
    for i,k in Counter(c.get('id') for c in cells).items():
        if i and k>1: report(fn, f'cell id {i} is used {k} times')
    for msg in same_cells.missing(fn, cells): report(fn, f'{msg}: run tools/same_cells.py')
    first = cells[0]['source'] if cells else ''
    if not re.match(r'# \S.*\n\n> \S', first): report(fn, 'the first cell is not `# Title`, an empty line, `> one sentence`')
    if not code and 'skip_exec: true' not in first: report(fn, 'has no code: say `- skip_exec: true` in its first cell, so that it is not counted as a passed test')
    exps = [c['dirs']['default_exp'] for c in code if c['dirs'].get('default_exp')]
    if len(exps)>1: report(fn, f'default_exp is set {len(exps)} times')
    made = [c for c in code if c['exports']]
    if made and not exps: report(fn, 'exports without a default_exp')
    for c in code:
        if not c['exports'] and fn.parent!=nbs: check_shown(fn, c, bare(fn.parent.name))
    if not exps: return
    path = '.'.join(bare(p) for p in fn.relative_to(nbs).with_suffix('').parts)
    if exps[0]!=path: report(fn, f'default_exp is {exps[0]}, the path says {path}')
    if exps[0] in modules: report(fn, f'default_exp {exps[0]} is also that of {modules[exps[0]].relative_to(root)}')
    modules[exps[0]] = fn
    if 'nbdev_export()' not in code[-1]['source'] or 'hide' not in code[-1]['dirs']: report(fn, 'the last cell is not a hidden `nbdev_export()`')
    for c in code:
        if not c['exports'] and 'nbdev_export()' not in c['source']: check_mixed(fn, c)
    for c in made:
        later = '\n'.join(o['code'] for o in code if o['n']>c['n'] and not o['exports'])
        check_symbols(fn, c, later)
        check_imports(fn, c, path.split('.')[0])
        check_collectives(fn, c, path)

def check_section(d):
    "Page names differ, and the section's index links each page"
    pages = [p for p in sorted(d.glob('*.ipynb')) if not p.name.startswith('_')]
    for nm,k in Counter(bare(p.stem).lower() for p in pages).items():
        if k>1: report(d, f'{k} notebooks make the page {nm}.html')
    index = d/'index.ipynb'
    if not index.exists(): return report(d, 'has no index.ipynb')
    cells = load(index) # a table of methods is made by a cell
    text = '\n'.join([c['source'] for c in cells]+[''.join(o.get('data', {}).get('text/markdown', '')) for c in cells for o in c.get('outputs', [])])
    for p in pages:
        if p!=index and f'({p.name})' not in text: report(index, f'does not link {p.name}'+(f": `Markdown(family_table('{d.name}'))` lists all methods of a section" if bare(d.name) in with_methods else ''))

def check_modules(modules):
    "Each module comes from a notebook: a renamed `default_exp` leaves the old file behind"
    for p in sorted((root/lib).rglob('*.py')):
        if p.name in ('__init__.py','_modidx.py'): continue
        m = '.'.join(p.relative_to(root/lib).with_suffix('').parts)
        if m not in modules: report(p, 'no notebook exports this module')
    for m,fn in modules.items():
        if not (root/lib/Path(*m.split('.'))).with_suffix('.py').exists(): report(fn, f'module {lib}.{m} is missing: run nbdev_export')
    spec = {}
    exec((root/lib/'_modidx.py').read_text(), spec)
    for m in spec['d']['syms']:
        if m.removeprefix(f'{lib}.') not in modules: report(root/lib/'_modidx.py', f'lists {m}, which no notebook exports')

def check_circles(modules):
    "No module needs one that needs it, by whatever way; imports inside functions count, too"
    left = {m:{o.removeprefix(f'{lib}.') for o,_ in imported(f'{lib}.{m}').values()} for m in modules if home(f'{lib}.{m}')}
    while free := [m for m,needs in left.items() if not needs & left.keys()]:
        for m in free: del left[m]
    if not left: return
    at,way = min(left),[]
    while at not in way:
        way.append(at)
        at = min(left[at] & left.keys())
    report(modules[at], f"imports go in a circle: {' -> '.join([*way[way.index(at):], at])}")

def check_template():
    "What `make new` writes imports what there is"
    for m,nm in new.imported():
        at = (root/m.replace('.', '/')).with_suffix('.py')
        if not at.exists() or not re.search(rf"'{nm}'", at.read_text().split(']', 1)[0]): report(Path(new.__file__), f'its pages import {nm} from {m}, where it is not')

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('nbs', nargs='*', help='only tell what is wrong with these')
    p.add_argument('--shrink', action='store_true', help=f'write into {longer.name} which pages have become shorter')
    a = p.parse_args()
    fns,modules,pages,listed,kept = stamps.notebooks(),{},stamps.read(),json.loads(longer.read_text()),{}
    with open(nbs/'12_guide'/'systems.csv', encoding='utf-8') as f: systems = {o['id'] for o in csv.DictReader(f)}
    for fn in fns:
        check_nb(fn, modules, listed, kept, systems)
        if (s := pages.get(stamps.key(fn), {}).get('fast', {}).get('seconds', 0))>max_seconds: report(fn, f'its quick cells take {s} s of processor time, limit {max_seconds}: make them smaller, or flag the long ones as slow')
        if old := stamps.stale(fn, pages): report(fn, f"outputs of {' and '.join(old)} cells are older than the code: run tools/run_nb.py")
    for d in sorted({p.parent for p in fns}-{nbs}): check_section(d)
    check_modules(modules)
    check_circles(modules)
    check_template()
    try: facts.facts(nbs)
    except facts.BadInput as e: report(nbs, str(e))
    if a.shrink: longer.write_text('{\n'+',\n'.join(f'{json.dumps(k)}: {json.dumps(v)}' for k,v in sorted(kept.items()))+'\n}\n')
    told = [o for o in problems if not a.nbs or any(stamps.key(fn) in o for fn in a.nbs)]
    print('\n'.join(told+[f'{len(fns)} notebooks, {len(problems)} problems']))
    raise SystemExit(bool(told))

if __name__=='__main__': main()
