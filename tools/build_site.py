#!/usr/bin/env python
"Build the site in `_docs`: nbdev processes the notebooks, smalldocs renders and checks them; or Quarto renders them, with `--quarto`"
import html,json,os,re,shutil,subprocess,sys
from base64 import b64decode
from importlib.util import find_spec
from pathlib import Path

from nbdev.config import get_config
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
import stamps

number = re.compile(r'^\d+[a-zA-Z0-9]*_')
maths  = re.compile(r'(<span class="math (inline|display)">)\\[(\[](.*?)\\[)\]](</span>)', re.S)
katex  = re.compile(r'<(?:script|link)\b[^>]*katex[^>]*>(?:</script>)?')
nested = re.compile(r'\[(\[`[^`\n]+`\]\([^)\s]+\))\]\([^)\s]+\)') # a link around a name that nbdev made a link to its definition
nothing = re.compile(r'<td>(?:NaN|&lt;NA&gt;)</td>')
axis   = re.compile(r'(<thead>\s*<tr[^>]*>\s*<th>)(</th>(?:(?!</tr>).)*</tr>)\s*<tr>\s*<th>([^<]+)</th>(?:\s*<th></th>)*\s*</tr>', re.S)
symbol = re.compile(r'\[`([^`\n]+)`\]\(([^)\s]+)\)(?=[^<]*</span>)')
unread = re.compile(r'<(pre|code|script|math|style|svg)\b.*?</\1>', re.S)
raw    = re.compile(r'.{0,40}(?:\*\*|\]\(|(?<!\w)\$|`|\\[a-z]+\{).{0,40}')
picture = re.compile(r'<img (?=[^>]*src="data:image/png;base64,([A-Za-z0-9+/]{32}))')
link   = re.compile(r'(\]\()([^)\s#]+?)\.ipynb(?=[)#])')

def page_name(path):
    "The name nbdev gives to a page: the file's name without its number, in lower case"
    p = Path(path)
    return p.with_name(number.sub('', p.name).lower()).as_posix()

def localise(text, depth, site):
    "Point links at notebooks and at our own published site to the pages beside them"
    text = link.sub(lambda m: f'{m[1]}{page_name(m[2])}.ipynb' if '://' not in m[2] else m[0], text)
    return text.replace(f']({site}/', f"]({'../'*depth}")

def rename(root, site):
    "Give each processed notebook the name of its page, as Quarto does by the option `output-file`, which smalldocs does not read"
    for fn in sorted(root.rglob('*.ipynb')):
        nb,depth = json.loads(fn.read_text()),len(fn.relative_to(root).parents)-1
        for c in nb['cells']:
            src = ''.join(c['source'])
            if c['cell_type']=='raw': src = re.sub(r'^output-file:.*\n', '', src, flags=re.M)
            if c['cell_type']=='markdown': src = localise(src, depth, site)
            c['source'] = src
            for d in (o['data'] for o in c.get('outputs', []) if 'data' in o):
                if 'text/markdown' in d: d['text/markdown'] = localise(''.join(d['text/markdown']), depth, site)
        fn.unlink()
        (fn.parent/Path(page_name(fn.name))).write_text(json.dumps(nb))

def tables(nb):
    "Tables of pandas as a reader expects them: an empty cell where a row has no number, and the name of the index in the line of the columns' names, not below it"
    for d in (o['data'] for c in nb['cells'] for o in c.get('outputs', []) if 'data' in o):
        if 'text/html' in d: d['text/html'] = axis.sub(r'\1\3\2', nothing.sub('<td></td>', ''.join(d['text/html'])))

def sign(root, cfg):
    "Add to each page when its outputs were made, and where it can be run; make its tables and its links in links readable"
    names = {page_name(p.relative_to(cfg.nbs_path)):p for p in stamps.notebooks()}
    pages = stamps.read()
    for fn in sorted(root.rglob('*.ipynb')):
        if not (src := names.get(page_name(fn.relative_to(root)))): continue
        nb,rel = json.loads(fn.read_text()),src.relative_to(cfg.config_path).as_posix()
        colab = f"[Open in Colab](https://colab.research.google.com/github/{cfg.user}/{cfg.repo}/blob/{cfg.branch}/{rel})"
        text = '\n\n'.join(filter(None, ['---', stamps.told(src, pages), colab]))
        for c in nb['cells']:
            if c['cell_type']=='markdown': c['source'] = nested.sub(r'\1', ''.join(c['source']))
        tables(nb)
        nb['cells'].append(dict(cell_type='markdown', id='made-when', metadata={}, source=text))
        fn.write_text(json.dumps(nb))

def mathml(root):
    "Turn the formulas of all pages into MathML, as Quarto does by `html-math-method`: browsers show it without a script or a network"
    from latex2mathml.converter import convert
    bad = []
    def one(m):
        tex = html.unescape(m[3])
        out = convert(tex, display='block' if m[2]=='display' else 'inline')
        if '\\' in re.sub(r'<[^>]+>', '', out): bad.append(tex)
        return m[1]+out+m[4]
    for fn in root.rglob('*.html'):
        text = fn.read_text()
        if '<span class="math ' in text: fn.write_text(maths.sub(one, katex.sub('', text)))
    if bad: sys.exit('not all of these formulas could be read, write them in plainer TeX:\n'+'\n'.join(bad))

def finish(root):
    "Make links of the names in the comments of signatures; and tell `styles.css` how wide each picture is by nature, from the head of its data: on a phone only wide ones are moved sideways"
    def width(m): return f'<img style="--w:{int.from_bytes(b64decode(m[1])[16:20], "big")}px" '
    for fn in root.rglob('*.html'): fn.write_text(symbol.sub(r'<a href="\2">\1</a>', picture.sub(width, fn.read_text())))

def check_text(root):
    "No page shows Markdown or TeX that nobody has turned into anything"
    bad = []
    for fn in sorted(root.rglob('*.html')):
        body = re.search(r'<main.*?</main>', fn.read_text(), re.S)
        if body: bad += [f'{fn.relative_to(root)}: {m[0].strip()}' for m in raw.finditer(html.unescape(re.sub(r'<[^>]+>', '', unread.sub(' ', body[0]))))]
    if bad: sys.exit('these pages show raw Markdown or TeX:\n'+'\n'.join(bad))

def smalldocs(command, proc, *options):
    r = subprocess.run([sys.executable, '-m', 'smalldocs.cli', command, *options, str(proc)])
    if r.returncode: sys.exit(f"smalldocs {command} found something; the processed notebooks are in {proc.name}")

def with_smalldocs(proc, cfg):
    "Render the processed notebooks, with formulas, and check every link"
    rename(proc, f"{cfg.doc_host}{cfg.doc_baseurl}")
    options = (proc/'_quarto.yml').read_text()
    (proc/'_quarto.yml').unlink() # it may be a link to ours
    (proc/'_quarto.yml').write_text(re.sub(r'^ *(html-math-method|grid):.*\n', '', options, flags=re.M)) # done here, and in styles.css
    smalldocs('render', proc, '--quiet', '--strict')
    mathml(proc/cfg.doc_path.name)
    finish(proc/cfg.doc_path.name)
    check_text(proc/cfg.doc_path.name)
    smalldocs('check', proc)

def main():
    cfg = get_config()
    root = Path(cfg.config_path)
    os.chdir(root)
    sys.path.insert(0, str(root)) # the worker processes inherit this path, and import the package from it
    quarto = '--quarto' in sys.argv[1:]
    if not quarto and not find_spec('smalldocs'): sys.exit('smalldocs is not installed: it needs Python 3.11 or newer; use Quarto and `--quarto` instead')
    if quarto and not shutil.which('quarto'): sys.exit('quarto is not installed: see https://quarto.org; without `--quarto` smalldocs builds the site')
    refresh_quarto_yml()
    proc = Path(proc_nbs(force=True))
    sign(proc, cfg)
    if quarto: subprocess.run(['quarto','render','--no-cache'], cwd=proc, check=True)
    else: with_smalldocs(proc, cfg)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(proc/cfg.doc_path.name, cfg.doc_path)
    shutil.rmtree(proc)
    print(f'{len(list(Path(cfg.doc_path).rglob("*.html")))} pages in {Path(cfg.doc_path).name}/')

if __name__=='__main__': main()
