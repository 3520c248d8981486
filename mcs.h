/* mcs.h - the whole public interface. */
#ifndef MCS_H
#define MCS_H
#include "nn/nn.h"
#include "tensor/tensor.h"
#endif
