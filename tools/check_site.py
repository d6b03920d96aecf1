#!/usr/bin/env python
"Check the pages of the built site, whoever has rendered them: text, headings, links and their places, scripts; with `--width` also in a browser as wide as a phone and as a laptop"
import argparse,functools,html,json,os,re,shutil,subprocess,sys,tempfile,threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler,ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote,urldefrag,urljoin,urlparse

from nbdev.config import get_config
from prepare import unwritten

unread = re.compile(r'<(pre|code|script|math|style|svg)\b.*?</\1>', re.S)
raw    = re.compile(r'.{0,40}(?:\*\*|\]\(|(?<!\w)\$|`|\\[a-z]+\{).{0,40}')
longest = 80 # characters of a heading

class Page(HTMLParser):
    "What the checks need of a page: places, links, what it loads, headings"
    def __init__(self, fn):
        super().__init__()
        self.ids,self.links,self.loads,self.heads,self.plan,self.inside = set(),[],[],[],[],''
        self.feed(fn.read_text())

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.ids |= {a[k] for k in ('id','name') if a.get(k)}
        if tag=='main' or tag=='nav' and a.get('id')=='quarto-sidebar': self.inside = tag
        if tag=='a' and a.get('href'): (self.plan if self.inside=='nav' else self.links).append(a['href'])
        if tag in ('script','img','iframe') and a.get('src'): self.loads.append(a['src'])
        if tag=='link' and a.get('href') and a.get('rel') in ('stylesheet','preload','icon','modulepreload'): self.loads.append(a['href'])
        if self.inside=='main' and re.fullmatch('h[1-6]', tag): self.heads.append([int(tag[1]),'',True])

    def handle_endtag(self, tag):
        if tag==self.inside: self.inside = ''
        if re.fullmatch('h[1-6]', tag) and self.heads: self.heads[-1][2] = False

    def handle_data(self, text):
        if self.heads and self.heads[-1][2]: self.heads[-1][1] += text

def text_faults(fn):
    "Markdown or TeX that nobody has turned into anything, and warnings of the machine that has built the site"
    text = fn.read_text()
    if not (body := re.search(r'<main.*?</main>', text, re.S)): return ['has no text']
    bad = [f'shows {m[0].strip()}' for m in raw.finditer(html.unescape(re.sub(r'<[^>]+>', '', unread.sub(' ', body[0]))))]
    return bad+[f'shows a warning: {m[0]}' for m in re.finditer(r'(?<=\d: )\w*Warning\b.{0,60}', body[0])]

def heading_faults(page):
    "Headings as long as a paragraph, a page without its one title, and levels that are left out"
    levels = [n for n,*_ in page.heads]
    bad = [f'a heading of {len(t)} characters: {t[:60]}...' for _,t,_ in page.heads if len(t)>longest]
    if levels.count(1)!=1: bad.append(f'{levels.count(1)} titles')
    return bad+[f'heading "{t}" leaves out a level' for before,(n,t,_) in zip([0,*levels], page.heads) if n>before+1]

def link_faults(root, fn, pages, cfg):
    "Links to a page, a place on a page or a file of the repository that is not there; and scripts, styles and pictures from elsewhere"
    at,site,repo = f'http://here/{fn.relative_to(root).as_posix()}',f'{cfg.doc_host}{cfg.doc_baseurl}',f'{cfg.git_url}/blob/{cfg.branch}/'
    for o in pages[fn].loads:
        if urlparse(o).scheme in ('http','https') or o.startswith('//'): yield f'loads {o} from elsewhere'
        elif not o.startswith('data:') and not (root/unquote(urlparse(urljoin(at, o)).path).lstrip('/')).exists(): yield f'loads {o}, which is not there'
    for o in pages[fn].links+pages[fn].plan:
        if o.startswith(repo) and not (cfg.config_path/unquote(urldefrag(o)[0][len(repo):])).exists(): yield f'links {o}, which is not in the repository'
        url,place = urldefrag(urljoin(at, o.replace(site, 'http://here', 1) if o.startswith(site) else o))
        if not url.startswith('http://here'): continue
        to = root/unquote(urlparse(url).path).lstrip('/')
        if to.is_dir(): to = to/'index.html'
        if not to.exists(): yield f'links {o}, which is not there'
        elif place and to in pages and unquote(place) not in pages[to].ids: yield f'links {o}: that page has no such place'

def static(root):
    "All faults that can be seen without a browser"
    cfg = get_config()
    pages = {fn:Page(fn) for fn in sorted(root.rglob('*.html')) if 'site_libs' not in fn.parts}
    plan = {(root/unquote(urldefrag(o)[0])).resolve() for o in pages[root/'index.html'].plan}
    lost = [f'{fn.relative_to(root)}: is not in the sidebar' for fn in pages if fn not in plan and not unwritten(cfg.nbs_path/fn.parent.relative_to(root))]
    return lost+[f'{fn.relative_to(root)}: {o}' for fn,p in pages.items() for o in [*text_faults(fn), *heading_faults(p), *link_faults(root, fn, pages, cfg)]]

harness = """<!doctype html><title>widths</title><script>
const pages = PAGES, widths = [390, 1280], found = []
const name = e => e.tagName.toLowerCase()+(e.className && e.className.baseVal===undefined ? '.'+e.className : '')
function reachable(e, main) { for (e = e.parentElement; e && main.contains(e); e = e.parentElement) if (/auto|scroll/.test(getComputedStyle(e).overflowX) && e!==main) return true }
function look(page, w, d, win) {
  const all = d.documentElement.scrollWidth, main = d.querySelector('main')
  if (all > w) found.push(`${page}: ${all} px wide on a screen of ${w}`)
  const cut = main ? [...main.querySelectorAll('*')].filter(e => {
    const b = e.getBoundingClientRect()
    return b.width > 1 && b.height > 1 && b.right > w+1 && getComputedStyle(e).visibility==='visible' && (e.tagName==='IMG' || !reachable(e, main))
  }) : []
  if (cut.length) found.push(`${page}: cut on a screen of ${w}: ${[...new Set(cut.map(name))].slice(0, 3).join(', ')}`)
  for (const e of win.faults || []) found.push(`${page}: ${e}`)
}
async function one(page, w) {
  const f = document.createElement('iframe')
  f.style.cssText = `width:${w}px;height:800px;border:0`
  document.body.append(f)
  await new Promise(done => { f.onload = done; setTimeout(done, 20000); f.src = page })
  await new Promise(done => setTimeout(done, 150))
  try { look(page, w, f.contentDocument, f.contentWindow) } catch (e) { found.push(`${page}: ${e}`) }
  f.remove()
}
onload = async () => {
  for (const p of pages) for (const w of widths) await one(p, w)
  await fetch('/--done', {method: 'POST', body: JSON.stringify(found)})
}
</script><body></body>"""
listen = b"<script>window.faults=[];addEventListener('error',e=>{if(e.message)faults.push(e.message)});addEventListener('unhandledrejection',e=>faults.push(String(e.reason)))</script>"

class Handler(SimpleHTTPRequestHandler):
    "Serve the site, and the page that looks at all others; each page notes its own errors"
    def log_message(self, *_): pass
    def do_GET(self):
        fn = Path(self.translate_path(self.path))
        if self.path=='/--look': body = harness.replace('PAGES', json.dumps(self.server.pages)).encode()
        elif fn.suffix=='.html' and fn.exists(): body = fn.read_bytes().replace(b'<head>', b'<head>'+listen, 1)
        else: return super().do_GET()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.server.found = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.send_response(204)
        self.end_headers()
        self.server.done.set()

def widths(root, limit=600):
    "Faults that only a browser shows: what is wider than a phone or a laptop, and errors of scripts; None without a browser"
    browser = next(filter(None, map(shutil.which, ('chromium','chromium-browser','google-chrome','google-chrome-stable'))), None)
    if not browser: return
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(root)))
    server.pages = [f'/{fn.relative_to(root).as_posix()}' for fn in sorted(root.rglob('*.html')) if 'site_libs' not in fn.parts]
    server.done,server.found = threading.Event(),None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        p = subprocess.Popen([browser,'--headless=new','--no-sandbox','--disable-gpu','--disable-background-networking','--no-first-run','--window-size=1400,1000',f'--user-data-dir={home}',
                              f'http://127.0.0.1:{server.server_port}/--look'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try: server.done.wait(limit)
        finally:
            p.terminate()
            p.wait()
            server.shutdown()
    return ['the browser has not come to an end'] if server.found is None else server.found

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('root', nargs='?', type=Path, default=Path('_docs'))
    p.add_argument('--width', action='store_true', help='look at each page in chromium or chrome, if there is one')
    a = p.parse_args()
    bad,seen = static(a.root.resolve()),widths(a.root.resolve()) if a.width else []
    if seen is None: print('no chromium or chrome: widths are not checked')
    bad += seen or []
    print('\n'.join([*bad, f'{len(bad)} faults']))
    sys.exit(bool(bad))

if __name__=='__main__': main()
