/* mcs.h - the whole public interface. */
#ifndef MCS_H
#define MCS_H
#include "cam/boxes.h"
#include "cam/cam.h"
#include "cam/coarse.h"
#include "cam/crf.h"
#include "image/image.h"
#include "image/phantom.h"
#include "image/preprocess.h"
#include "losses/losses.h"
#include "models/biomedclip.h"
#include "models/medclip_sam.h"
#include "models/sam.h"
#include "nn/nn.h"
#include "nn/optim.h"
#include "tensor/parallel.h"
#include "tensor/tensor.h"
#include "weights/weights.h"
#endif
