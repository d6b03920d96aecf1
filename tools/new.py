#!/usr/bin/env python
"Begin the page of a method: its fixed cells, headings, proofs and an example that runs at once. With --remove take a page away again, and all that was made from it"
import argparse,ast,json,re,subprocess,sys,time
from hashlib import sha256
from pathlib import Path

root = Path(__file__).resolve().parent.parent
nbs,lib,template = root/'nbs','ssl_recipes',Path(__file__).with_name('recipe.txt')
headings = ['The idea','The proofs',r'What (it|they) learned','Against the paper','When to choose it'] # that the page of a method has, in this order
wait = 'Say here' # what still waits for its author

def cells(text):
    "Kind and source of each cell of the template"
    parts = re.split(r'^---- (markdown|code)\n', text, flags=re.M)[1:]
    return [(kind,src.strip('\n')) for kind,src in zip(parts[::2], parts[1::2])]

def imported():
    "What the template imports from the package: module and name"
    for kind,src in cells(template.read_text()):
        if kind!='code' or not re.search(r'^(import|from) ', src, re.M): continue
        yield from ((o.module,a.name) for o in ast.walk(ast.parse(src)) if isinstance(o, ast.ImportFrom) and o.module.startswith(lib) for a in o.names if a.name!='*')

def place(name):
    "The notebook of a page, whose section and number may be left out where they follow from the others"
    section,_,page = name.strip('/').removeprefix('nbs/').removesuffix('.ipynb').rpartition('/')
    found = [d for d in nbs.iterdir() if d.is_dir() and section in (d.name, d.name.partition('_')[2])]
    if not found: sys.exit(f"no section {section or 'is named'}: say NAME=section/page; sections are {', '.join(sorted(d.name for d in nbs.glob('[0-9]*')))}")
    if there := [p for p in found[0].glob('*.ipynb') if re.sub(r'^\d+_', '', p.stem)==re.sub(r'^\d+_', '', page)]: return there[0]
    last = max([int(m[0]) for p in found[0].glob('*.ipynb') if (m := re.match(r'\d+', p.name))], default=5)
    if not re.match(r'\d+_', page): page = f'{(last//5+1)*5:02d}_{page}'
    return found[0]/f'{page}.ipynb'

def make(fn, method, title, paper, takes, covers):
    "Write the page"
    section,page = fn.parent.name.partition('_')[2],fn.stem.partition('_')[2]
    arxiv = bool(re.fullmatch(r'\d{4}\.\d{4,5}', paper or ''))
    taken = [f'- {method} from {o}: {wait} what was taken -> and what changed' for o in takes]
    of = re.search(r'^- columns: (.*)$', ''.join(json.loads((fn.parent/'index.ipynb').read_text())['cells'][0]['source']), re.M)
    columns = [f'- {o.strip()}: {wait} which' for o in of[1].split(',')] if of else []
    values = dict(title=title, method=method, Class=''.join(o.title() for o in method.split('_')), module=f'{section}.{page}', order=int(fn.stem.partition('_')[0]), wait=wait,
                  paper=f'arXiv {paper}' if arxiv else f"{time.strftime('%Y-%m')}{f', {paper}' if paper else ''}", facts='\n'.join([*taken, *columns, *([f'- covers: {covers}'] if covers else [])]),
                  paper_link=f'The paper: {wait} who, {title}, 20{paper[:2]} ([arXiv {paper}](https://arxiv.org/abs/{paper})).' if arxiv else '')
    def filled(src): return re.sub(r'<<(\w+)>>', lambda m: str(values[m[1]]), src)
    def cell(n, kind, src):
        fixed = dict(cell_type=kind, id=sha256(f'{fn.stem} {n}'.encode()).hexdigest()[:8], metadata={}, source=filled(src).strip().splitlines(True))
        return fixed if kind=='markdown' else dict(fixed, execution_count=None, outputs=[])
    kernel = dict(display_name='python3', language='python', name='python3')
    nb = dict(cells=[cell(n, *o) for n,o in enumerate(cells(template.read_text()))], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)
    fn.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n', encoding='utf-8')

def export():
    "The module from the page, and the index of the package"
    bin_ = Path(sys.executable).parent
    subprocess.run([bin_/'nbdev_clean'], cwd=root, check=True)
    subprocess.run([bin_/'nbdev_export'], cwd=root, check=True)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('name', help='section/page, such as contrastive/hypersphere or 02_contrastive/45_hypersphere')
    p.add_argument('--method', help="its name in code, as in `ssl_recipes train NAME`; the page's if left out")
    p.add_argument('--title', help='its name in text')
    p.add_argument('--paper', help='number at arXiv, such as 2002.05709, or an address')
    p.add_argument('--takes', default='simclr', help='methods from which it took something, separated by blanks')
    p.add_argument('--covers', default='', help='systems of nbs/12_guide/systems.csv that it covers, separated by blanks')
    p.add_argument('--remove', action='store_true', help='delete the page and its module')
    a = p.parse_args()
    fn = place(a.name)
    module = root/lib/fn.parent.name.partition('_')[2]/f"{fn.stem.partition('_')[2]}.py"
    if a.remove:
        for o in (fn,module): o.unlink(missing_ok=True)
        export()
        return print(f'{fn.relative_to(root)} is gone; `make book` makes anew what was made from it')
    if fn.exists(): sys.exit(f'{fn.relative_to(root)} is there already')
    method = a.method or fn.stem.partition('_')[2]
    if not method.isidentifier() or method!=method.lower(): sys.exit(f'{method} cannot be the name of a function: small letters, digits and _')
    if re.search(rf"\.{method}_learner'", (root/lib/'_modidx.py').read_text()): sys.exit(f'there is a method {method} already')
    make(fn, method, a.title or method.replace('_', ' '), a.paper, a.takes.split(), a.covers)
    subprocess.run([sys.executable, Path(__file__).with_name('same_cells.py'), fn], check=True)
    export()
    print(f"{fn.relative_to(root)} is there, and {method} a method. Next:\n"
          f"  make run NB={fn.relative_to(root)}    runs it\n  make book    puts it into map, tables and coverage\n  make rules   says what the page still lacks, such as all that it marks with '{wait}'")

if __name__=='__main__': main()
