#!/usr/bin/env python
"Check the pages of the built site, whoever has rendered them: text, headings, links and their places, scripts, fonts; with `--width` also in a browser as wide as a phone and as a laptop, in light and in dark"
import argparse,functools,html,json,os,re,shutil,subprocess,sys,tempfile,threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler,ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote,urldefrag,urljoin,urlparse

from nbdev.config import get_config
from prepare import parameters,unwritten,words

unread = re.compile(r'<(pre|code|script|math|style|svg)\b.*?</\1>', re.S)
raw    = re.compile(r'.{0,40}(?:\*\*|\]\(|(?<!\w)\$|`|\\[a-z]+\{).{0,40}')
longest = 80 # characters of a heading
outside = re.compile(r'''(?:@import\s*(?:url\()?|url\()\s*["']?((?:https?:)?//[^"')\s]+)''') # in a style sheet
named   = re.compile(r'<a href="([^"]*)">(?:<code>)?(\w+)(?:</code>)?</a>')

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

def name_faults(root, fn):
    "Names that lead to a function and mean something else: a parameter of the function told of, or a word that is one only on its own page"
    text,bad = fn.read_text(),[]
    if not (body := re.search(r'<main.*?</main>', text, re.S)): return bad
    for p in re.findall(r'<pre\b.*?</pre>', body[0], re.S):
        own = parameters(html.unescape(re.sub(r'<[^>]+>', '', p)))
        bad += [f'the parameter {m[2]} leads to {m[1]}' for m in named.finditer(p) if m[2] in own]
    return bad+[f'the word {m[2]} leads to {m[1]}' for m in named.finditer(body[0]) if m[2] in words and '#' in m[1] and (root/unquote(urlparse(urljoin(f'http://here/{fn.relative_to(root).as_posix()}', m[1])).path).lstrip('/'))!=fn]

def style_faults(text):
    "Style sheets, fonts and pictures that a style sheet loads from elsewhere"
    return [f'loads {o} from elsewhere' for o in outside.findall(text)]

def static(root):
    "All faults that can be seen without a browser"
    cfg = get_config()
    pages = {fn:Page(fn) for fn in sorted(root.rglob('*.html')) if 'site_libs' not in fn.parts}
    plan = {(root/unquote(urldefrag(o)[0])).resolve() for o in pages[root/'index.html'].plan}
    lost = [f'{fn.relative_to(root)}: is not in the sidebar' for fn in pages if fn not in plan and not unwritten(cfg.nbs_path/fn.parent.relative_to(root))]
    lost += [f'{fn.relative_to(root)}: {o}' for fn in sorted(root.rglob('*.css')) for o in style_faults(fn.read_text())]
    return lost+[f'{fn.relative_to(root)}: {o}' for fn,p in pages.items()
                 for o in [*text_faults(fn), *heading_faults(p), *link_faults(root, fn, pages, cfg), *name_faults(root, fn), *style_faults(''.join(re.findall(r'<style\b.*?</style>', fn.read_text(), re.S)))]]

harness = r"""<!doctype html><title>widths</title><script>
const pages = PAGES, widths = [390, 1280], found = []
const name = e => e.tagName.toLowerCase()+(e.className && e.className.baseVal===undefined ? '.'+e.className : '')
function reachable(e, main) { for (e = e.parentElement; e && main.contains(e); e = e.parentElement) if (/auto|scroll/.test(getComputedStyle(e).overflowX) && e!==main) return true }
function look(page, w, scheme, d, win) {
  const all = d.documentElement.scrollWidth, main = d.querySelector('main')
  if (all > w) found.push(`${page}: ${all} px wide on a screen of ${w}`)
  const cut = main ? [...main.querySelectorAll('*')].filter(e => {
    const b = e.getBoundingClientRect()
    return b.width > 1 && b.height > 1 && b.right > w+1 && getComputedStyle(e).visibility==='visible' && (e.tagName==='IMG' || !reachable(e, main))
  }) : []
  if (cut.length) found.push(`${page}: cut on a screen of ${w}: ${[...new Set(cut.map(name))].slice(0, 3).join(', ')}`)
  for (const e of win.faults || []) found.push(`${page}: ${e}`)
  const parted = main ? [...broken(d, main.querySelectorAll('td, th'), /[\p{L}\p{N}_]{2,}/gu), ...broken(d, main.querySelectorAll('code'), /(?<![\w-])--?[a-z][\w-]*/g), ...broken(d, [main], /\d{4}-\d\d-\d\d/g)] : []
  if (parted.length) found.push(`${page}: broken on a screen of ${w}: ${parted.length}, such as ${[...new Set(parted)].slice(0, 3).join(', ')}`)
  const shapeless = loose(d)
  if (shapeless.length) found.push(`${page}: code without its shape on a screen of ${w}: ${shapeless.length}, such as ${shapeless.slice(0, 2).join(', ')}`)
  const head = d.querySelector('h1.title'), said = d.querySelector('#title-block-header .description')
  if (head && said && said.getBoundingClientRect().top-head.getBoundingClientRect().bottom < 5) found.push(`${page}: no gap below the title`)
  const faint = pale(d, win)
  if (faint.length) found.push(`${page}: pale in the ${scheme} theme on a screen of ${w}: ${faint.length}, such as ${faint.slice(0, 3).join(', ')}`)
}
// What should stand on one line and stands on two
function broken(d, where, what) {
  const bad = []
  for (const e of where) for (const n of texts(d, e)) for (const m of n.data.matchAll(what)) {
    const r = d.createRange()
    r.setStart(n, m.index)
    r.setEnd(n, m.index+m[0].length)
    if (new Set([...r.getClientRects()].filter(o => o.width).map(o => Math.round(o.top))).size > 1) bad.push(m[0])
  }
  return bad
}
// Lines of code that go on further left than they began, or whose indentation stands alone
function loose(d) {
  return [...d.querySelectorAll('main code > span[id^=cb]')].filter(s => {
    const all = texts(d, s).filter(n => n.data.trim()), line = s.textContent
    if (!all.length || !/^ /.test(line) || !s.getClientRects().length) return false
    const r = d.createRange()
    r.setStart(all[0], all[0].data.search(/\S/))
    r.setEndAfter(s.lastChild)
    const [first, ...more] = [...r.getClientRects()].filter(o => o.width)
    return first && (first.top-s.getBoundingClientRect().top > 8 || more.some(o => o.top > first.top+8 && o.left < first.left-1))
  }).map(s => s.textContent.trim().slice(0, 30))
}
function texts(d, e) { const w = d.createTreeWalker(e, NodeFilter.SHOW_TEXT), all = []; while (w.nextNode()) all.push(w.currentNode); return all }
// Words whose contrast with what is behind them is below 4.5, of large ones below 3, as WCAG 2 has it; not within pictures
function pale(d, win) {
  const style = new Map(), css = e => style.get(e) || style.set(e, win.getComputedStyle(e)).get(e)
  const rgba = s => { const m = s.match(/[\d.]+/g).map(Number); return s.startsWith('color(') ? [...m.slice(0, 3).map(o => o*255), m[3] ?? 1] : [...m.slice(0, 3), m[3] ?? 1] }
  const over = (c, b) => b.map((v, i) => c[i]*c[3]+v*(1-c[3]))
  const light = c => [.2126, .7152, .0722].reduce((s, k, i) => { const v = c[i]/255; return s+k*(v <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4) }, 0)
  const bad = new Map()
  for (const n of texts(d, d.body)) {
    const e = n.parentElement
    if (!n.data.trim() || bad.has(e) || !e.getClientRects().length || e.closest('svg, script, style, noscript') || css(e).visibility !== 'visible') continue
    const behind = []
    let alpha = 1
    for (let x = e; x; x = x.parentElement) { behind.push(rgba(css(x).backgroundColor)); alpha *= css(x).opacity }
    const b = behind.reverse().reduce((b, c) => over(c, b), [255, 255, 255]), c = rgba(css(e).color), f = over([...c.slice(0, 3), c[3]*alpha], b)
    const [x, y] = [light(f), light(b)].sort((a, b) => b-a), size = parseFloat(css(e).fontSize)
    if ((x+.05)/(y+.05) < (size >= 24 || size >= 18.66 && css(e).fontWeight >= 700 ? 3 : 4.5)) bad.set(e, `${n.data.trim().slice(0, 20)} (${((x+.05)/(y+.05)).toFixed(1)})`)
  }
  return [...bad.values()]
}
async function one(page, w, scheme) {
  for (const k of ['quarto-color-scheme', 'smalldocs-scheme']) localStorage.setItem(k, scheme==='dark' ? 'alternate' : 'default')
  const f = document.createElement('iframe')
  f.style.cssText = `width:${w}px;height:800px;border:0`
  document.body.append(f)
  await new Promise(done => { f.onload = done; setTimeout(done, 20000); f.src = page })
  await new Promise(done => setTimeout(done, 150))
  try { look(page, w, scheme, f.contentDocument, f.contentWindow) } catch (e) { found.push(`${page}: ${e}`) }
  f.remove()
}
onload = async () => {
  for (const p of pages) for (const w of widths) for (const s of ['light', 'dark']) await one(p, w, s)
  await fetch('/--done', {method: 'POST', body: JSON.stringify([...new Set(found)])})
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

def widths(root, limit=900):
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
