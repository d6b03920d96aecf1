#!/usr/bin/env python
"Build the site in `_docs`: nbdev processes the notebooks, smalldocs renders them, or Quarto with `--quarto`, and the pages are checked; with `--prepare` stop before that, with what would be rendered in `_proc`"
import html,json,os,re,shutil,subprocess,sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

os.environ['PYTHONWARNINGS'] = 'ignore' # what the processes warn of that run cells with imports would stand on the pages
from nbdev.config import get_config
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
from prepare import check,lines,page_name,prepare,sidebar
import check_site,stamps

maths  = re.compile(r'(<span class="math (inline|display)">)\\[(\[](.*?)\\[)\]](</span>)', re.S)
katex  = re.compile(r'<(?:script|link)\b[^>]*katex[^>]*>(?:</script>)?')
symbol = re.compile(r'\[`([^`\n]+)`\]\(([^)\s]+)\)(?=[^<]*</span>)')
link   = re.compile(r'(\]\()([^)\s#]+?)\.ipynb(?=[)#])')
remote = re.compile(r"""<script\b[^>]*\bsrc="https?://[^>]*></script>\s*|<script [^>]*>define\('jquery'[^<]*</script>\s*""") # Quarto loads jquery wherever a table is, for widgets that nobody has
fonts  = re.compile(r"""@import\s*(?:url\()?["']?https?://(?:[^"')]*["')]+|[^;"']*);?""") # Bootstrap's themes load theirs from elsewhere
line   = re.compile(r'(<span id="cb\d+-\d+")(><a [^>]*></a>)(.*)') # of code, as Pandoc writes it
option = re.compile(r'(?<![\w-])--?[A-Za-z][\w-]*')
date   = re.compile(r'\b\d{4}-\d\d-\d\d\b')
output = re.compile(r'(?<=<pre)(?=><code>((?:(?!</code>).)*)</code></pre>)', re.S)
unit   = re.compile(r' (?=(?:%|s|ms|min|MB|GB|px)\s*$)| (?=/ )|(?<= /) |(?<=^\d) (?=\w)') # in the head of a column

def rename(root):
    "Give each processed notebook the name of its page, as Quarto does by the option `output-file`, which smalldocs does not read; and links to notebooks, too"
    def text(s): return lines(link.sub(lambda m: f'{m[1]}{page_name(m[2])}.ipynb' if '://' not in m[2] else m[0], ''.join(s)))
    for fn in sorted(root.rglob('*.ipynb')):
        nb = json.loads(fn.read_text())
        for c in nb['cells']:
            if c['cell_type']=='raw': c['source'] = lines(re.sub(r'^output-file:.*\n', '', ''.join(c['source']), flags=re.M))
            if c['cell_type']=='markdown': c['source'] = text(c['source'])
            for d in (o['data'] for o in c.get('outputs', []) if 'data' in o):
                if 'text/markdown' in d: d['text/markdown'] = text(d['text/markdown'])
        fn.unlink()
        (fn.parent/Path(page_name(fn.name))).write_text(json.dumps(nb))

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

def brackets(m):
    "Brackets of a formula that need not grow, since nothing tall is between them: browsers put blanks around those that may"
    text,open_,flat = m[0],[],[]
    for o in re.finditer(r'<mo stretchy="true" form="(prefix|postfix)">', text):
        if o[1]=='prefix': open_.append(o)
        elif open_:
            first = open_.pop()
            if not re.search('<(mfrac|munder|mover|munderover|mtable|msqrt|mroot)[ >]', text[first.end():o.start()]): flat += [first,o]
    for o in sorted(flat, key=lambda o: -o.start()): text = text[:o.start()]+o[0].replace('true', 'false')+text[o.end():]
    return text

def unbroken(text):
    "A page on which options, dates, and the units in heads of tables are not broken, and each line of code knows its indentation, behind which it goes on where it is too long; what is printed in columns is marked"
    parts,inside = re.split(r'(<[^>]+>)', text),dict.fromkeys(('main','pre','code','thead','svg','math','script','style'), 0)
    whole = lambda m: f'<span class="whole">{m[0]}</span>'
    for i,p in enumerate(parts):
        if i%2 and (m := re.match(r'<(/?)(\w+)', p)) and m[2] in inside: inside[m[2]] += -1 if m[1] else 1
        elif not i%2 and p.strip() and inside['main'] and not any(inside[o] for o in ('svg','math','script','style')):
            if inside['code']: p = option.sub(whole, p)
            if not inside['pre']: p = date.sub(whole, p)
            parts[i] = unit.sub('\u00a0', p) if inside['thead'] else p
    def shape(m):
        said = html.unescape(re.sub(r'<[^>]+>', '', m[3]))
        n,first = len(said)-len(said.lstrip()),(said.split() or [''])[0] # a long word would leave the indentation alone on a line
        return f'{m[1]} style="--in:{n}ch{"; word-break: break-all"*(len(first)>60)}"{m[2]}{m[3]}' if n and first else m[0]
    columns = lambda m: ' class="columns"' if len(re.findall(r'^.*\S {2,}\S', m[1], re.M))>1 else ''
    return output.sub(columns, line.sub(shape, ''.join(parts)))

class Words(HTMLParser):
    "What a page says under each of its headings, without its code, the outputs of its code and the TeX behind its formulas"
    skip = {'pre','script','style','svg','annotation','button','header','nav','summary'}
    def __init__(self, text):
        super().__init__()
        self.parts,self.stack,self.out,self.head = [['','',[]]],[],0,None # place, heading, words
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if tag in ('img','br','hr','input','meta','link','col','source','wbr'): return
        gone = tag in self.skip or 'float:right' in (a.get('style') or '') or any(o in (a.get('class') or '') for o in ('cell-output-stdout','page-facts','dataframe'))
        self.stack.append((tag,gone))
        self.out += gone
        if re.fullmatch('h[2-6]', tag):
            self.head = [a.get('data-anchor-id') or a.get('id') or '',[]]
        if self.head is None and tag in ('p','li','td','div'): self.handle_data(' ')

    def handle_endtag(self, tag):
        if not any(tag==t for t,_ in self.stack): return
        while self.stack:
            t,gone = self.stack.pop()
            self.out -= gone
            if t==tag: break
        if re.fullmatch('h[2-6]', tag) and self.head:
            self.parts.append([self.head[0],' '.join(''.join(self.head[1]).split()),[]])
            self.head = None

    def handle_data(self, text):
        if self.head is not None: self.head[1].append(text)
        elif not self.out: self.parts[-1][2].append(text)

def index(root):
    "What the search box looks through: each heading of each page is an entry, so that a function is found where it is defined, and names in code lead nobody astray"
    entries,crumbs = [],{o['href'].partition('#')[0]:o.get('crumbs') for o in json.loads((root/'search.json').read_text())}
    for page in crumbs:
        text = (root/page).read_text()
        title = html.unescape(re.search(r'<h1 class="title"[^>]*>(.*?)</h1>', text, re.S)[1]) if '<h1 class="title"' in text else page
        body = re.sub(r'<header id="title-block-header".*?</header>', '', re.search(r'<main.*?</main>', text, re.S)[0], flags=re.S)
        about = re.search(r'<meta name="description" content="([^"]*)"', text)
        for place,head,words in Words(body).parts:
            said = ' '.join(''.join(words).split())
            if not place and about: said = f'{html.unescape(about[1])}. {said}'
            if not place and head or not (head or said): continue
            href = f'{page}#{place}' if place else page
            entries.append(dict(objectID=href, href=href, title=re.sub('<[^>]+>', '', title).strip(), section=head, text=said) | (dict(crumbs=crumbs[page]) if crumbs[page] else {}))
    (root/'search.json').write_text(json.dumps(entries, ensure_ascii=False, indent=1))

def finish(root, cfg):
    "Make links of the names in the comments of signatures; lead to the source of each page by its name in the repository; load no script and no font from elsewhere; set formulas closely; keep together what belongs together; index the pages anew"
    source = {f'/{page_name(p.relative_to(cfg.nbs_path))}"':f'/{p.relative_to(cfg.nbs_path).as_posix()}"' for p in stamps.notebooks()}
    at = f'{cfg.git_url}/blob/{cfg.branch}/{cfg.nbs_path.name}'
    for fn in root.rglob('*.html'):
        text = remote.sub('', symbol.sub(r'<a href="\2">\1</a>', fn.read_text()))
        text = unbroken(re.sub(r'<math\b.*?</math>', brackets, text, flags=re.S))
        fn.write_text(re.sub(rf'(?<={re.escape(at)})/[^"#?]+"', lambda m: source.get(m[0], m[0]), text))
    for fn in root.rglob('quarto-nav.js'): fn.write_text(fn.read_text().replace('if (links[i].href) {', 'if (links[i].href.replace) {')) # it stumbles over links within pictures
    for fn in root.rglob('*.css'):
        if fonts.search(text := fn.read_text()): fn.write_text(fonts.sub('', text))
    index(root)

def smalldocs(command, proc, *options):
    r = subprocess.run([sys.executable, '-m', 'smalldocs.cli', command, *options, str(proc)])
    if r.returncode: sys.exit(f"smalldocs {command} found something; the processed notebooks are in {proc.name}")

def with_smalldocs(proc, cfg):
    "Render the processed notebooks, with formulas, and check what smalldocs checks"
    rename(proc)
    options = (proc/'_quarto.yml').read_text()
    options = re.sub(r'[^\s"]+\.ipynb', lambda m: page_name(m[0]), options)
    (proc/'_quarto.yml').write_text(re.sub(r'^ *(html-math-method|grid):.*\n', '', options, flags=re.M)) # done here, and in styles.css
    smalldocs('render', proc, '--quiet', '--strict')
    mathml(proc/cfg.doc_path.name)
    smalldocs('check', proc)

def main():
    cfg = get_config()
    root = Path(cfg.config_path)
    os.chdir(root)
    sys.path.insert(0, str(root)) # the worker processes inherit this path, and import the package from it
    quarto,only = ('--quarto' in sys.argv[1:]),('--prepare' in sys.argv[1:])
    if not (quarto or only or find_spec('smalldocs')): sys.exit('smalldocs is not installed: it needs Python 3.11 or newer; use Quarto and `--quarto` instead')
    if quarto and not shutil.which('quarto'): sys.exit('quarto is not installed: see https://quarto.org; without `--quarto` smalldocs builds the site')
    refresh_quarto_yml()
    proc = Path(proc_nbs(force=True))
    prepare(proc, cfg)
    sidebar(proc/'_quarto.yml', cfg)
    check(proc)
    if only: return print(f'{len(list(proc.rglob("*.ipynb")))} notebooks prepared in {proc.name}/')
    if quarto: subprocess.run(['quarto','render','--no-cache'], cwd=proc, check=True)
    else: with_smalldocs(proc, cfg)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(proc/cfg.doc_path.name, cfg.doc_path)
    shutil.rmtree(proc)
    finish(cfg.doc_path, cfg)
    if bad := check_site.static(cfg.doc_path): sys.exit('\n'.join([*bad, f'{len(bad)} faults']))
    print(f'{len(list(Path(cfg.doc_path).rglob("*.html")))} pages in {Path(cfg.doc_path).name}/')

if __name__=='__main__': main()
