#!/usr/bin/env python
"Put the two cells into pages that all pages have in the same words: the second one fetches the book in Colab, the last one tells how to export; `check_nbs.py` names the pages where they are missing or differ"
import json,sys
from hashlib import sha256
from pathlib import Path

from nbdev.config import get_config
import stamps

last = """#| hide
# Reading and trying out needs nothing here. Who has changed the page: `make export` writes the package, and so does this line without its `#`
# import nbdev; nbdev.nbdev_export()"""

def colab(fn):
    "The cell that makes Colab, which opens a page alone, a place with the package and all files around the page"
    cfg = get_config()
    at = (Path('/content/book')/Path(fn).resolve().parent.relative_to(cfg.config_path)).as_posix()
    return f"""#| hide
#| eval: false
# In Colab: fetch the book and install its package. Elsewhere: nothing
if 'google.colab' in str(get_ipython()):
    get_ipython().system('git clone -q --depth 1 {cfg.git_url} /content/book && pip install -q /content/book')
    get_ipython().run_line_magic('cd', '-q {at}')"""

def missing(fn, cells):
    "What a page lacks of the two, of its cells with sources as strings"
    code = [c['source'] for c in cells if c['cell_type']=='code']
    if code and not (len(cells)>1 and cells[1]['source']==colab(fn)): yield 'the second cell is not the one for Colab'
    if any('nbdev_export(' in s for s in code) and code[-1]!=last: yield 'the last cell is not the one that tells how to export'

def put(fn):
    "Put the two cells into a page, in place of what stands there for them; True if it was changed"
    text = fn.read_text(encoding='utf-8')
    nb = json.loads(text)
    cells = nb['cells']
    if not any(c['cell_type']=='code' for c in cells): return
    new = dict(cell_type='code', execution_count=None, id=sha256(fn.relative_to(stamps.root).as_posix().encode()).hexdigest()[:8], metadata={}, outputs=[])
    old = [c for c in cells[:4] if c['cell_type']=='code' and 'google.colab' in ''.join(c['source'])]
    for c in old: cells.remove(c)
    cells.insert(1, dict((old or [new])[0], source=colab(fn).splitlines(True)))
    for c in cells[-1:]:
        if 'nbdev_export(' in ''.join(c['source']): c['source'] = last.splitlines(True)
    out = json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n'
    if out!=text: fn.write_text(out, encoding='utf-8')
    return out!=text

if __name__=='__main__':
    for fn in map(Path, sys.argv[1:] or stamps.notebooks()):
        if put(fn.resolve()): print(fn)
