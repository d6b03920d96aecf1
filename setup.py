"Everything is read from settings.ini; the README becomes the long description"
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages,setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
needed = 'lib_name version description keywords author author_email user license status min_python audience language git_url requirements'
missing = [o for o in needed.split() if not cfg.get(o)]
assert not missing, f'settings.ini lacks {missing}'

spdx = {'apache2':'Apache-2.0', 'mit':'MIT', 'bsd3':'BSD-3-Clause'}
status = ['1 - Planning', '2 - Pre-Alpha', '3 - Alpha', '4 - Beta', '5 - Production/Stable', '6 - Mature', '7 - Inactive']
lib,oldest = cfg['lib_name'],int(cfg['min_python'].split('.')[1])
pythons = [f'Programming Language :: Python :: 3.{o}' for o in range(oldest, max(oldest, 14)+1)]

setup(
    name=lib, version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license=spdx[cfg['license']],
    long_description=(here/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    classifiers=[
        f"Development Status :: {status[int(cfg['status'])-1]}",
        f"Intended Audience :: {cfg['audience']}",
        f"Natural Language :: {cfg['language']}",
        'Programming Language :: Python :: 3', *pythons,
        'Topic :: Scientific/Engineering :: Artificial Intelligence'],
    packages=find_packages(include=[lib, f'{lib}.*']), include_package_data=True, zip_safe=False,
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg['requirements'].split(), extras_require={o:cfg.get(f'{o}_requirements', '').split() for o in ('dev','lab')},
    entry_points={
        'console_scripts':cfg.get('console_scripts', '').split(),
        'nbdev':[f'{lib}={lib}._modidx:d']}) # lets other nbdev sites link our symbols
