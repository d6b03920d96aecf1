"What nbdev has made of the notebooks, put in order for the program that renders it: what folds, what is said at the top of a page, which outputs stay; and a test that nothing is broken in it"
import ast,json,re
from pathlib import Path

import yaml
import stamps # before the package, which it finds
from cells import directives
from ssl_recipes.app.facts import facts as known,on_page

number   = re.compile(r'^\d+[a-zA-Z0-9]*_')
nested   = re.compile(r'\[(\[`[^`\n]+`\]\([^)\s]+\))\]\([^)\s]+\)') # a link around a name that nbdev made a link to its definition
nothing  = re.compile(r'<td>(?:NaN|&lt;NA&gt;)</td>')
axis     = re.compile(r'(<thead>\s*<tr[^>]*>\s*<th>)(</th>(?:(?!</tr>).)*</tr>)\s*<tr>\s*<th>([^<]+)</th>(?:\s*<th></th>)*\s*</tr>', re.S)
first    = re.compile(r'^\| (\**)([a-z]\w*)((?:, [^|*]*)?)\1 *(?=\|)', re.M)
row      = re.compile(r'<(th|td)>([a-z]\w*)((?:, [^<]*)?)</\1>')
warning  = re.compile(r'\w*Warning\b')
heading  = re.compile(r'^(#{1,6})(?= )(.*)$', re.M)
fence    = re.compile(r'^ {0,3}(`{3,}|~{3,}|:{3,})([^`\n]*)$', re.M)
rule     = re.compile(r'^ *\|?( *:?-+:? *\|)+( *:?-+:? *)?$') # the second line of a table
partial  = re.compile(r"functools\.partial\(<class '(?:\w+\.)*(\w+)'>")
empty    = re.compile(r':(?:NoneType|builtin_function_or_method)(?= ?=)') # what fastai says of a parameter without a type
words    = {'encoder','predictor','mlp','rank','seen'} # functions whose names mean a part of a model or a column of a table on all pages but their own

def page_name(path):
    "The name nbdev gives to a page: the file's name without its number, in lower case"
    p = Path(path)
    return p.with_name(number.sub('', p.name).lower()).as_posix()

def lines(text):
    "Text as notebooks store it: a list of lines with their ends. Quarto drops the line ends of a text that is not a list"
    return re.findall(r'[^\n]*\n|[^\n]+', ''.join(text))

def shown(c):
    "Directives and code of a code cell that shows its code; else nothing"
    if c['cell_type']!='code': return
    dirs,code = directives(''.join(c['source']))
    if code and dirs.get('echo')!='false' and dirs.get('include')!='false': return dirs,code

def imports(code):
    "Whether code imports and does nothing else"
    try: body = ast.parse(code).body
    except SyntaxError: return False # magics
    return bool(body) and all(isinstance(o, (ast.Import,ast.ImportFrom)) for o in body)

def documents(c):
    "The name of which a cell shows the documentation"
    m = re.search(r'^show_doc\((?:\w+\.)*(\w+)', ''.join(c['source']), re.M) if c['cell_type']=='code' else None
    return m and m[1]

def below(cells):
    "Exported source stands below the documentation of all that it defines: nbdev puts only the first above it"
    cells = list(cells)
    for i in reversed(range(len(cells))):
        src = ''.join(cells[i]['source'])
        if 'Exported source' not in src[:80]: continue
        made = set(re.findall(r'^(?:async )?(?:def|class) (\w+)', src, re.M))
        n = next((j for j in range(i+1, len(cells)) if documents(cells[j]) not in made), len(cells))
        cells[i:n] = cells[i+1:n]+[cells[i]]
    return cells

def fold(cells):
    "Cells that only import, and exported source, are folded; what is folded and follows each other is one fold"
    out,last = [],None # the summary of the fold that stands last, if something can be added to it
    for c in cells:
        has = shown(c)
        if not has and c['cell_type']=='code' and not c['outputs'] and not ''.join(c['source']).strip(): continue
        dirs,code = has or ({},'')
        name = None
        if dirs.get('code-summary')=='"Exported source"': name = 'Exported source'
        elif has and imports(code) and not c['outputs']: name = 'Imports'
        elif dirs.get('code-fold')=='true': name = dirs.get('code-summary', 'Code').strip('"')
        if name and last in (name,'Imports'):
            before = shown(out.pop())
            code = before[1].rstrip()+('\n' if name=='Imports' else '\n\n')+code
            dirs = {k:v for k,v in before[0].items() if not k.startswith('code-')} | dirs
        if name: c['source'] = ''.join(f'#| {k}: {v}\n' for k,v in (dirs | {'code-fold':'true', 'code-summary':f'"{name}"'}).items() if v)+code
        last = name if not c.get('outputs') else None
        out.append(c)
    return out

def quiet(nb):
    "The site runs cells that import, with what they warn of on the machine that builds it: no page shows that"
    for c in nb['cells']:
        if 'outputs' in c: c['outputs'] = [o for o in c['outputs'] if not (o.get('name')=='stderr' and (warning.search(''.join(o['text'])) or imports(directives(''.join(c['source']))[1])))]

def levels(cells):
    "A heading is at most one level below the one before it: that of a function at the top of a page is no third one"
    at = 1
    def one(m):
        nonlocal at
        at = min(len(m[1]), at+1)
        return '#'*at+m[2]
    def text(s): return ''.join(p if i%2 else heading.sub(one, p) for i,p in enumerate(re.split(r'(^```.*?^```)', ''.join(s), flags=re.S|re.M)))
    for c in cells:
        if c['cell_type']=='markdown': c['source'] = text(c['source'])
        for d in (o['data'] for o in c.get('outputs', []) if 'data' in o):
            if 'text/markdown' in d: d['text/markdown'] = text(d['text/markdown'])

def tables(nb, names, depth):
    """Tables of pandas as a reader expects them: an empty cell where a row has no number, the name of the index in the line of the columns' names, not below it,
    and methods by their names, with links, instead of those of their modules. Quarto leaves them as they are"""
    def name(m): return f'<{m[1]}><a href="{"../"*depth}{names[m[2]][0]}">{names[m[2]][1]}</a>{m[3]}</{m[1]}>' if m[2] in names else m[0]
    def said(m): return f'| {m[1]}[{names[m[2]][1]}]({"../"*depth}{names[m[2]][0]}){m[3]}{m[1]} ' if m[2] in names else m[0]
    for d in (o['data'] for c in nb['cells'] for o in c.get('outputs', []) if 'data' in o):
        if 'text/markdown' in d: d['text/markdown'] = first.sub(said, ''.join(d['text/markdown']))
        if 'text/html' not in d: continue
        text = axis.sub(r'\1\3\2', nothing.sub('<td></td>', ''.join(d['text/html'])))
        if 'class="dataframe"' in text: text = row.sub(name, text).replace('class="dataframe"', 'class="dataframe" data-quarto-disable-processing="true"')
        d['text/html'] = text

def methods(cfg):
    "Of each method: its page, or its place on a page of several, and its name"
    spec,every = {},known(cfg.nbs_path)
    exec((cfg.lib_path/'_modidx.py').read_text(), spec)
    urls = {name.rpartition('.')[2]:url for syms in spec['d']['syms'].values() for name,(url,_) in syms.items()}
    on = [o.page for o in every.values()]
    return {k:(page_name(f'{o.page}.html') if on.count(o.page)==1 else urls[f'{k}_learner'],o.name) for k,o in every.items()}

def options(c):
    "The front matter of a page without the facts, which are for us: a renderer gets the options that it knows"
    if c['cell_type']!='raw' or not (m := re.fullmatch(r'---\n(.*)\n---\s*', ''.join(c['source']), re.S)): return
    ours = {'title','description','order','skip_exec','output-file'}
    c['source'] = f"---\n{yaml.dump({k:v for k,v in yaml.safe_load(m[1]).items() if k in ours})}\n---\n\n"

def unwritten(folder):
    "Whether a section has no page yet but the one that says so"
    return [p.name for p in folder.glob('*.ipynb')]==['index.ipynb']

def facts(src, pages, cfg, nb):
    "What stands at the top of a page: the papers of its methods, where it can be run, how long that takes, and when its outputs were made"
    if not any(c['cell_type']=='code' for c in nb['cells']): return ''
    rel = src.relative_to(cfg.config_path).as_posix()
    colab = f"[Open in Colab](https://colab.research.google.com/github/{cfg.user}/{cfg.repo}/blob/{cfg.branch}/{rel})"
    papers = [f"[{o.paper.replace('https://arxiv.org/abs/', 'arXiv ')}]({o.paper})" for o in on_page(src).values() if o.paper]
    return '::: {.page-facts}\n'+' · '.join(filter(None, [*papers, colab, stamps.told(src, pages)]))+'\n:::\n'

def percent(src):
    "Quarto takes a description of a picture for an address, in which a percent sign means something"
    return re.sub(r'^#\| fig-alt:.*$', lambda m: re.sub(r' ?%(?!\w)', ' percent', m[0]), src, flags=re.M)

def places(nb):
    "Where a link to a name can lead on a page: the headings of its documentation"
    return {h.strip().lower() for c in nb['cells'] if documents(c) for o in c['outputs'] for _,h in heading.findall(''.join(o.get('data', {}).get('text/markdown', '')))}

def parameters(text):
    "Names of the parameters in the signature that a text of documentation shows"
    m = re.search(r'^(?:async )?(?:def|class) \w+\((.*?)^\)', text, re.S|re.M)
    return set(re.findall(r'^ +\**(\w+)(?=[:=,])', m[1], re.M)) if m else set()

def plain(text):
    "Signatures as somebody would write them"
    return partial.sub(r'partial(\1', empty.sub('', text)).replace('torch.nn.modules.module.Module', 'Module')

def relink(text, depth, site, there, here=''):
    """Links that nbdev made of names: to the pages beside, wherever the site stands; to the page itself if it has the name, too; to the class where a method has no heading of its own;
    and none to what has no documentation, of a parameter of the function that is told of, or of a name that means something else here"""
    own = parameters(text)
    def one(m):
        page,place,name = m[2],m[3],m[1].strip('`')
        if place in there.get(here, ()): page = here
        if name in own or name in words and page!=here: return m[1]
        if page in there and place not in there[page]: place = place.rpartition('.')[0]
        return f"[{m[1]}]({'../'*depth}{page}#{place})" if page not in there or place in there[page] else m[1]
    text = re.sub(rf'\[(`[^`\n]+`)\]\({re.escape(site)}/([^)#\s]+)#([^)\s]+)\)', one, text)
    return text.replace(f']({site}/', f"]({'../'*depth}")

def prepare(root, cfg):
    "All of this to all processed notebooks in a folder"
    site = f'{cfg.doc_host}{cfg.doc_baseurl}'
    there = {Path(page_name(fn.relative_to(root))).with_suffix('.html').as_posix():places(json.loads(fn.read_text())) for fn in root.rglob('*.ipynb')}
    at,pages,names = {page_name(p.relative_to(cfg.nbs_path)):p for p in stamps.notebooks()},stamps.read(),methods(cfg)
    for fn in sorted(root.rglob('*.ipynb')):
        nb,rel = json.loads(fn.read_text()),fn.relative_to(root)
        here = Path(page_name(rel)).with_suffix('.html').as_posix()
        depth = len(rel.parents)-1
        if not nb['metadata'].get('widgets', {}).get('application/vnd.jupyter.widget-state+json', {}).get('state'): nb['metadata'].pop('widgets', None) # for which Quarto would load scripts from elsewhere
        for c in nb['cells']: options(c)
        quiet(nb)
        tables(nb, names, depth)
        nb['cells'] = fold(below(nb['cells']))
        levels(nb['cells'])
        for c in nb['cells']:
            src = ''.join(c['source'])
            c['source'] = lines(nested.sub(r'\1', relink(src, depth, site, there, here)) if c['cell_type']=='markdown' else percent(src))
            for o in c.get('outputs', []):
                if 'text' in o: o['text'] = lines(o['text'])
                for mime,v in o.get('data', {}).items():
                    if mime=='text/markdown': v = plain(relink(''.join(v), depth, site, there, here))
                    if mime.startswith('text/'): o['data'][mime] = lines(v)
        if (src := at.get(page_name(rel))) and (top := facts(src, pages, cfg, nb)): nb['cells'].insert(1, dict(cell_type='markdown', id='page-facts', metadata={}, source=lines(top)))
        fn.write_text(json.dumps(nb))

def sidebar(file, cfg):
    "The site's options without the sections that are not written yet"
    text = file.read_text()
    for d in sorted(cfg.nbs_path.iterdir()):
        if d.is_dir() and unwritten(d): text = re.sub(rf'^ *- section: .*\n *contents: {d.name}/\*\n', '', text, flags=re.M)
    file.unlink() # it may be a link to ours
    file.write_text(text)

def table_faults(text):
    "Tables that a renderer would not take for one: a line of another width than the head, or no line under the head"
    rows,bad = text.split('\n'),[]
    def width(l): return len(re.findall(r'(?<!\\)\|', re.sub(r'`[^`]*`|\$[^$]*\$', '', l).strip().strip('|')))
    for i,l in enumerate(rows):
        if not l.startswith('|'): continue
        first = i==0 or not rows[i-1].startswith('|')
        if first: head = l
        if first and not (i+1<len(rows) and rule.match(rows[i+1])): bad.append(f'a table without a line under its head: {l[:60]}')
        if first and i and rows[i-1].strip() and not rows[i-1].startswith(':::'): bad.append(f'a table without an empty line above it: {l[:60]}')
        if width(l)!=width(head): bad.append(f'a row of another width than its head: {l[:60]}')
    return bad

def text_faults(text):
    "What would be broken in a text of Markdown: fences that are not closed, headings as long as a paragraph, tables"
    plain,bad,end = [],[],None
    for l in text.split('\n'):
        m = fence.match(l)
        if end and m and m[1].startswith(end) and not m[2].strip(): end = None
        elif not end and m and m[1][0]!=':': end = m[1]
        elif not end: plain.append(l)
        if not m and '```' in l and not end: bad.append(f'a fence within a line: {l[:60]}')
    if end: bad.append('a fence that is not closed')
    bad += [f'a heading of {len(l)} characters: {l[:60]}...' for l in plain if re.match('#{1,6} ', l) and len(l)>80]
    return bad+table_faults('\n'.join(plain))

def faults(nb):
    "What would be broken on the page of a prepared notebook, with the number of the cell"
    for n,c in enumerate(nb['cells'], 1):
        texts = [('source',c['source'])] if c['cell_type']=='markdown' else []
        for o in c.get('outputs', []): texts += [('output',v) for k,v in o.get('data', {}).items() if k=='text/markdown']
        for what,v in [('source',c['source']), *texts[c['cell_type']=='markdown':]]:
            if not isinstance(v, list): yield n,f'its {what} is one string: Quarto would drop its line ends'
            elif any(not l.endswith('\n') for l in v[:-1]) or any('\n' in l[:-1] for l in v): yield n,f'its {what} is a list, but not of lines that end in a line break'
        yield from ((n,msg) for _,v in texts for msg in text_faults(''.join(v)))

def check(root):
    "Read the prepared notebooks as a renderer would, and name what it would break"
    bad = [f'{fn.relative_to(root)} cell {n}: {msg}' for fn in sorted(root.rglob('*.ipynb')) for n,msg in faults(json.loads(fn.read_text()))]
    if bad: raise SystemExit('these pages would be broken:\n'+'\n'.join(bad))
