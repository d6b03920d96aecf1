#!/usr/bin/env python
"For .ci/run: which packages the newest fastai and fastcore need beyond the environment, and whether they are what is imported"
import json,re,sys
from importlib.metadata import version
from pathlib import Path

def wanted(report):
    "`name==version` of all that pip would install over the environment, our own wheel left out"
    items = [o['metadata'] for o in json.loads(Path(report).read_text())['install']]
    return sorted(f"{o['name']}=={o['version']}" for o in items if re.sub('[-_.]+', '_', o['name']).lower()!='ssl_recipes')

def verify(overlay, listed):
    "Each listed package has the listed version here, and fastai, fastcore and ours are imported from `overlay`"
    import fastai,fastcore,ssl_recipes
    for o in Path(listed).read_text().split():
        name,v = o.split('==')
        assert version(name)==v, f'{name} is {version(name)} instead of {v}'
    new = {o.split('==')[0].lower() for o in Path(listed).read_text().split()}
    for m in (fastai,fastcore,ssl_recipes):
        here = Path(m.__file__).is_relative_to(overlay)
        print(f"{m.__name__} {m.__version__} {'of the overlay' if here else 'of the environment, already the newest'}")
        assert here or m.__name__ not in new|{'ssl_recipes'}, m.__file__

if __name__=='__main__':
    cmd,*args = sys.argv[1:]
    if cmd=='list': print('\n'.join(wanted(*args)))
    else: verify(*args)
