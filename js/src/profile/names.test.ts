import { describe, expect, it } from 'vitest';
import { profileOf } from '../../test/profiles';
import { place } from './names';
import type { FuncRow } from './rows';

describe('place', () => {
  it.each([
    [
      '/venv/lib/python3.11/site-packages/sklearn/linear_model/_base.py',
      'sklearn/linear_model/_base.py',
      'sklearn.linear_model._base',
      'sklearn',
      'package',
    ],
    ['/usr/lib/python3/dist-packages/yaml/__init__.py', 'yaml/__init__.py', 'yaml', 'yaml', 'package'],
    ['/usr/lib/python3.11/json/decoder.py', 'json/decoder.py', 'json.decoder', 'json', 'stdlib'],
    ['/opt/conda/lib/python3.12/threading.py', 'threading.py', 'threading', 'threading', 'stdlib'],
    ['C:\\Python313\\Lib\\json\\encoder.py', 'json/encoder.py', 'json.encoder', 'json', 'stdlib'],
    ['C:\\proj\\.venv\\Lib\\site-packages\\attr\\_make.py', 'attr/_make.py', 'attr._make', 'attr', 'package'],
    ['/home/ada/project/pricing.py', 'pricing.py', 'pricing', 'pricing', 'file'],
    ['/home/ada/lib/pricing.py', 'pricing.py', 'pricing', 'pricing', 'file'],
    ['In [3]', 'In [3]', 'In [3]', 'In [3]', 'cell'],
    ['<ipython-input-12-abcdef012345>', 'In [12]', 'In [12]', 'In [12]', 'cell'],
    [
      '<frozen importlib._bootstrap>',
      '<frozen importlib._bootstrap>',
      'importlib._bootstrap',
      'importlib',
      'interpreter',
    ],
    ['<string>', '<string>', '<string>', '<string>', 'interpreter'],
    ['', '', '', '', 'interpreter'],
  ])('%s', (path, file, module, group, origin) =>
    expect(place(path, false)).toEqual({ path, file, module, group, origin }),
  );

  it.each([
    [
      '/v/site-packages/numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so',
      'numpy._core._multiarray_umath',
      'numpy',
      'package',
    ],
    [
      '/v/site-packages/numpy.libs/libopenblas64_p-r0-0cf96a72.3.23.dev.so',
      'numpy.libs.libopenblas64_p-r0-0cf96a72.3.23.dev',
      'numpy',
      'package',
    ],
    ['/usr/lib/x86_64-linux-gnu/libc.so.6', 'libc', 'libc', 'library'],
    ['/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so', '_json', '_json', 'stdlib'],
    ['C:\\Python313\\python313.dll', 'python313', 'python313', 'library'],
    ['/usr/bin/python3.11', 'python3.11', 'python3.11', 'library'],
  ])('native %s', (path, module, group, origin) => expect(place(path, true)).toMatchObject({ module, group, origin }));
});

describe('Names', () => {
  it("calls a cell's own code by its cell, its functions by their names", () => {
    const { names, func } = profileOf([{ calls: ['<module>@In [3]:7', 'clean@In [2]:4', '<module>@setup.py'] }]);
    const [cell, , module] = [0, 1, 2] as FuncRow[];
    expect(names.title(cell)).toBe('In [3]');
    expect(names.title(func('clean'))).toBe('clean');
    expect(names.title(module)).toBe('<module>');
    expect(names.location(cell, 7)).toBe('In [3]:7');
    expect(names.location(cell, 0)).toBe('In [3]');
  });
});
