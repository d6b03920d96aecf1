#!/usr/bin/env python
"Pictures of stored outputs with a palette of 256 colours, a third of the size, where nobody sees the difference. As a command: the sizes of the pictures of notebooks before and after, without storing anything"
import base64,io,json,sys
from pathlib import Path

import numpy as np
from PIL import Image

visible = 2.0 # root mean square of the difference, of 255 steps, above which a picture stays as it is

def small(png):
    "A PNG with a palette, if it is smaller and looks the same; else the same"
    im = Image.open(io.BytesIO(png))
    if im.mode=='P': return png
    if im.mode=='RGBA' and im.getchannel('A').getextrema()!=(255,255): return png
    im,best = im.convert('RGB'),png
    colours = len(im.getcolors(1<<24) or [])
    p = im.quantize(256, method=Image.Quantize.MEDIANCUT if colours>256 else Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    off = np.asarray(p.convert('RGB'), dtype=float)-np.asarray(im, dtype=float)
    out = io.BytesIO()
    p.save(out, 'png', optimize=True)
    return out.getvalue() if np.sqrt((off**2).mean())<=visible and len(out.getvalue())<len(png) else png

def shrink(cell):
    "Do so with the pictures that a cell shows"
    for o in cell.get('outputs', []):
        d = o.get('data', {})
        if 'image/png' in d: d['image/png'] = base64.b64encode(small(base64.b64decode(''.join(d['image/png'])))).decode()+'\n'*''.join(d['image/png']).endswith('\n')

if __name__=='__main__':
    total = [0,0]
    for fn in map(Path, sys.argv[1:]):
        both = [0,0]
        for c in json.loads(fn.read_text())['cells']:
            for o in c.get('outputs', []):
                if 'image/png' not in o.get('data', {}): continue
                png = base64.b64decode(''.join(o['data']['image/png']))
                both = [a+b for a,b in zip(both, (len(png),len(small(png))))]
        total = [a+b for a,b in zip(total, both)]
        print(fn, *both)
    print('all', *total)
