// Convolution of 3x3 as a sum of nine matrix products, with its gradients, as functions of an operator; in operators.cc.
// Attributes: dilation, filters, bias. They fail where `available` is false.

#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "mxnet/lib_api.h"

namespace confseg_dilated_products {

using Attributes = std::unordered_map<std::string, std::string>;
using Shapes = std::vector<std::vector<unsigned int>>;
using Arrays = std::vector<mxnet::ext::MXTensor>;

bool available();
mxnet::ext::MXReturnValue arity(const Attributes&, int* inputs, int* outputs);
mxnet::ext::MXReturnValue shapes(const Attributes&, Shapes* inputs, Shapes* outputs);
mxnet::ext::MXReturnValue value(const Attributes&, Arrays* inputs, Arrays* outputs, const mxnet::ext::OpResource&);
mxnet::ext::MXReturnValue gradients(const Attributes&, Arrays* inputs, Arrays* outputs, const mxnet::ext::OpResource&);
void sum_planes(const float* planes, int64_t samples, int64_t channels, int64_t pixels, float* sums);

}  // namespace confseg_dilated_products
