// What the interpreter's headers refer to where no interpreter is linked: only addresses count.
#include "interpreter/python_internals.h"

PyTypeObject PyCode_Type;
#if PY_VERSION_HEX >= 0x030D0000
PyObject _Py_NoneStruct;
#endif

#if PY_VERSION_HEX < 0x030C0000
// Whoever holds the GIL.
PyThreadState* gil_holder = nullptr;
extern "C" PyThreadState* _PyThreadState_UncheckedGet(void) { return gil_holder; }
#endif
