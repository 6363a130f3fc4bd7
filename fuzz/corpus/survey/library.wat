(module (func (export "_initialize")) (func (export "_start") (param i32)))
