/* A native module for the build of the snapshot: makes objects immortal.
 *
 * CPython counts no references to an object whose count is at least 2^30 (PEP 683), and so never
 * writes to it for being used. Python code cannot set the count itself. This file declares the
 * part of CPython's C interface that it needs, as it is on 32 bits. */

typedef int Py_ssize_t;

typedef struct {
    Py_ssize_t ob_refcnt;
    void *ob_type;
} PyObject;

typedef struct {
    const char *name;
    PyObject *(*function)(PyObject *module, PyObject *argument);
    int flags;
    const char *doc;
} PyMethodDef;

typedef struct {
    PyObject base;
    void *init;
    Py_ssize_t index;
    PyObject *copy;
    const char *name;
    const char *doc;
    Py_ssize_t size;
    PyMethodDef *methods;
    void *slots, *traverse, *clear, *free;
} PyModuleDef;

extern Py_ssize_t PyList_Size(PyObject *list);
extern PyObject *PyList_GetItem(PyObject *list, Py_ssize_t index);
extern PyObject *PyLong_FromLong(long number);
extern PyObject *PyModule_Create2(PyModuleDef *definition, int api_version);

enum { METH_O = 8, API_VERSION = 1013, IMMORTAL = 5 << 28 };

/* Takes a list; returns how many objects it made immortal. */
static PyObject *make_immortal(PyObject *module, PyObject *objects) {
    (void)module;
    Py_ssize_t count = PyList_Size(objects);
    for (Py_ssize_t index = 0; index < count; index++)
        PyList_GetItem(objects, index)->ob_refcnt = IMMORTAL;
    return PyLong_FromLong(count);
}

static PyMethodDef methods[] = {{"make_immortal", make_immortal, METH_O, 0}, {0, 0, 0, 0}};
static PyModuleDef definition = {
    .base = {1, 0}, .name = "immortal", .size = -1, .methods = methods};

__attribute__((visibility("default"))) PyObject *PyInit_immortal(void) {
    return PyModule_Create2(&definition, API_VERSION);
}
