#!/usr/bin/env python
"Make README.md from nbs/index.ipynb without Quarto; with --check only say whether it is up to date"
import argparse,base64,json,posixpath,re,sys
from pathlib import Path
from cells import directives

root = Path(__file__).resolve().parent.parent
nb,out,files = root/'nbs'/'index.ipynb',root/'README.md','README_files'
note = '<!-- Made from nbs/index.ipynb by tools/readme.py: edit the notebook -->'

def localise(text):
    "Links are relative to nbs/ in the notebook and to the top in the README; each must lead to a file"
    def _f(m):
        if re.match(r'[a-z]+:|#|/', m[2]): return m[0]
        path,_,frag = m[2].partition('#')
        new = posixpath.normpath(posixpath.join('nbs', path))
        if not (root/new).exists(): sys.exit(f'{nb.relative_to(root)}: link to {m[2]}, there is no {new}')
        return f"{m[1]}{new}{'#'+frag if frag else ''}"
    parts = re.split(r'(```.*?```)', text, flags=re.S) # fenced code has no links
    return ''.join(p if p.startswith('```') else re.sub(r'(\]\()([^)\s]+)', _f, p) for p in parts)

def output(o, images, alt=''):
    "One stored output as Markdown; a picture is put into `images` and linked"
    if o['output_type']=='stream': return indented(''.join(o['text'])) if o['name']=='stdout' else ''
    d = {k:v if isinstance(v, str) else ''.join(v) for k,v in o.get('data', {}).items()}
    if 'text/markdown' in d: return localise(d['text/markdown'].strip())
    for mime,ext in (('image/png','png'), ('image/svg+xml','svg')):
        if mime not in d: continue
        name = f'{files}/{len(images)+1:02d}.{ext}'
        images[name] = base64.b64decode(d[mime]) if ext=='png' else d[mime].encode()
        return f'![{alt}]({name})'
    return indented(d.get('text/plain', ''))

def indented(s): return '\n'.join(f'    {l}'.rstrip() for l in s.rstrip().splitlines())

def convert(cells):
    "README text, and its pictures by path"
    parts,images = [note],{}
    for c in cells:
        src = ''.join(c['source']).strip()
        if c['cell_type']=='markdown':
            if re.match(r'#+ .* -$', src): continue
            if src.startswith('# '): src = re.sub(r'\n+(- \w+: .*(\n|$))+', '\n', src).strip() # the page's options
            parts.append(localise(src))
        elif c['cell_type']=='code':
            dirs,code = directives(src)
            if {'hide','default_exp','export','exporti'} & set(dirs) or dirs.get('include')=='false': continue
            if code and dirs.get('echo')!='false': parts.append(f'```python\n{code}\n```')
            if dirs.get('output')!='false': parts += [output(o, images, dirs.get('fig-alt', '').strip('"')) for o in c['outputs']]
    return '\n\n'.join(p for p in parts if p)+'\n',images

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--check', action='store_true', help='write nothing; exit with 1 if README.md differs')
    a = p.parse_args()
    text,images = convert(json.loads(nb.read_text(encoding='utf-8'))['cells'])
    want = {out:text.encode(), **{root/k:v for k,v in images.items()}}
    have = [out, *sorted((root/files).glob('*'))]
    stale = [f for f in {*want,*have} if f not in want or not f.exists() or f.read_bytes()!=want[f]]
    if a.check and stale: sys.exit(f"not what nbs/index.ipynb makes, run tools/readme.py: {', '.join(sorted(f.name for f in stale))}")
    if a.check: return
    for f in set(have)-set(want): f.unlink()
    for f,b in want.items():
        f.parent.mkdir(exist_ok=True)
        f.write_bytes(b)

if __name__=='__main__': main()
