"Cells of a notebook as all tools here read them"
import json,re
from pathlib import Path

exporting = {'export','exports','exporti'}
directive = re.compile(r'#\|\s*([\w-]+):?(?:\s+(.*))?$')

def directives(src):
    "The directives at the head of a cell, each with what it says, and the code below them"
    rows = src.splitlines()
    n = next((i for i,l in enumerate(rows) if l.strip() and not l.startswith('#|')), len(rows))
    return {m[1]:(m[2] or '').strip() for m in map(directive.match, rows[:n]) if m},'\n'.join(rows[n:]).strip('\n')

def load(fn):
    "The cells of a notebook, each with its number from 1, its source as one string, its directives, the code below them and whether it exports"
    cells = json.loads(Path(fn).read_text(encoding='utf-8'))['cells']
    for n,c in enumerate(cells, 1):
        c['n'],c['source'] = n,''.join(c['source'])
        c['dirs'],c['code'] = directives(c['source']) if c['cell_type']=='code' else ({},c['source'])
        c['exports'] = bool(exporting & set(c['dirs']))
    return cells

def prose_words(text):
    "Words of a markdown cell; tables, fenced code and the options of a title cell count for nothing"
    text = re.sub(r'```.*?```', '', text, flags=re.S)
    if text.startswith('# '): text = re.sub(r'^- [^:\n]+: .*$', '', text, flags=re.M)
    return sum(len(l.split()) for l in text.splitlines() if not l.lstrip().startswith('|'))

def headings(cells):
    "The headings of the second level"
    return [m for c in cells if c['cell_type']=='markdown' for m in re.findall(r'^## (.+?)(?: -)?$', re.sub(r'```.*?```', '', c['source'], flags=re.S), re.M)]
